"""Charades-STA test: when in a household video does what a sentence describes happen?"""

from evalkit.benchmarks import charades
from evalkit.core.columns import NUMBERS, TEXT
from evalkit.metrics.spans import SpanIou
from evalkit.task import HubDataset, Task, text, video

# In lmms-eval's words, misspelling included: that is what Qwen's authors refer to for their figure
# (github.com/QwenLM/Qwen3-VL, issue 309).
WORDING = (
    "Please find the visual event described by a sentence in the video, determining its starting and ending "
    "times. The format should be: 'The event happens in the start time - end time'. For example, The event "
    "'person turn a light on' happens in the 24.3 - 30.4 seonds. Now I will give you the textual sentence: "
    "{caption}. Please return its start time and end time."
)

task = Task(
    name="charades_sta",
    category="video",
    title="Charades-STA",
    paper_row="Charades-STA",
    dataset=HubDataset(
        "lmms-eval/charades_sta",
        split="test",
        aliases=("lmms-lab/charades_sta",),
        columns={"video": TEXT, "caption": TEXT, "timestamp": NUMBERS},
        archives=("*.zip",),
        files={"path": ("{video}", f"{charades.FOLDER}/{{video}}", f"charades/{charades.FOLDER}/{{video}}")},
    ),
    prompt=lambda row: (video(row["path"]), text(WORDING.format(caption=row["caption"]))),
    reference=charades.span,
    id=lambda row: str(row["row_number"]),
    cluster=lambda row: row["video"],
    meta=lambda row: {"question": row["caption"]},
    metric=SpanIou(),
    max_new_tokens=50,
    size=3720,
    licence="annotations unverified; videos under Charades' licence, not for commercial use",
    citation="Gao et al., TALL: Temporal Activity Localization via Language Query, ICCV 2017 "
    "(arXiv:1705.02101)",
    notes="3,720 sentences about 1,334 videos. The paper's digits fit mIoU. 562 of the official spans end "
    "after their video does; as in the official script, they are not cut.",
    lmms_eval_notes="`temporal_grounding_charades` can't read `starts at 3s and ends at 7.5s` or `<6.0> "
    "<11.2>`, cuts the decimals of mm:ss, and compares with times rounded to float16. The overlap is the "
    "same.",
    example={
        "row_number": 0,
        "video": "3MSZA.mp4",
        "caption": "person turn a light on.",
        "timestamp": [24.296875, 30.40625],
        "path": "3MSZA.mp4",
    },
)
