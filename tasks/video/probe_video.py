"""Drawn abilities on films: motion, order, time, needles."""

from evalkit.probe.tasks import probe_task

tasks = (
    probe_task(
        name="probe_motion_direction",
        category="video",
        title="Probe: motion direction",
        tags=("probe",),
        notes="Which way an object moves in four seconds, while others move, too.",
    ),
    probe_task(
        name="probe_motion_speed",
        category="video",
        title="Probe: motion speed",
        tags=("probe",),
        notes="Which of four objects moves fastest.",
    ),
    probe_task(
        name="probe_event_order",
        category="video",
        title="Probe: order of events",
        tags=("probe",),
        notes="Objects are shown for a second each: which one comes directly after another.",
    ),
    probe_task(
        name="probe_event_time",
        category="video",
        title="Probe: time of an event",
        tags=("probe",),
        notes="From when to when a lamp is on, for a quarter of the film; mean temporal IoU, as in "
        "Charades-STA. Chance: a span of the right length at any whole second.",
    ),
    probe_task(
        name="probe_needle",
        category="video",
        title="Probe: needle in a film",
        tags=("probe",),
        notes="A poster is shown for two frames (a second) while a street passes by: what colour is the "
        "shape on it? All frames are shown up to the limit on frames (768 by default; `--max-frames "
        "2048 --visual-tokens 262144` for all levels); `evalkit probe` counts the films of which the "
        "needle wasn't shown.",
    ),
    probe_task(
        name="probe_vniah",
        category="video",
        title="Probe: V-NIAH's set-up",
        tags=("probe-preset",),
        citation="Zhang et al., Long Context Transfer from Language to Vision (arXiv:2406.16852)",
        notes="V-NIAH's lengths, depths (0 to 1 in steps of 0.2), five needles, 9 x 16 tokens a frame, as "
        "in VideoRoPE's scripts. Differs: a drawn street, or the film `probe/haystack.mp4` below "
        "`--data-root`, for theirs; posters for their photos; a needle is two frames long and "
        "replaces frames; the answer is generated, not forced.",
    ),
    probe_task(
        name="probe_vruler",
        category="video",
        title="Probe: V-RULER's set-up",
        tags=("probe-preset",),
        citation="Wei et al., VideoRoPE: What Makes for Good Video Rotary Position Embedding?, ICML 2025 "
        "(arXiv:2502.05173), and VideoRoPE++",
        notes="V-RULER's retrieval with a distractor 200 frames away (V-NIAH-D), counting, ordering, and "
        "several needles of one key, at V-NIAH's lengths. Differs as `probe_vniah` does; the lengthy "
        "multimodal stack, which needs LongVideoBench's films and subtitles, is left out.",
    ),
)
