"""Drawn abilities that answer with a box."""

from evalkit.probe.tasks import probe_task

tasks = (
    probe_task(
        name="probe_localisation",
        category="grounding",
        title="Probe: localisation",
        tags=("probe",),
        notes="One of twelve objects of 64 pixels, on pages of growing size and resolution; IoU of 0.5. A "
        "guessed box almost never overlaps by half.",
    ),
)
