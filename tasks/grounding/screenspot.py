"""ScreenSpot: find the element of a screenshot that an instruction is about."""

from evalkit.benchmarks import screenspot
from evalkit.core.columns import IMAGE, NUMBERS, TEXT
from evalkit.metrics.points import PointInBox
from evalkit.task import HubDataset, Task, image, locate

task = Task(
    name="screenspot",
    category="grounding",
    title="ScreenSpot",
    dataset=HubDataset(
        "rootsautomation/ScreenSpot",
        split="test",
        columns={
            "file_name": TEXT,
            "bbox": NUMBERS,
            "instruction": TEXT,
            "data_type": TEXT,
            "data_source": TEXT,
            "image": IMAGE,
        },
    ),
    expand=screenspot.in_pixels,
    prompt=lambda row: (image(row["image"]), locate(row["instruction"])),
    reference=lambda row: row["box"],
    # The repository has no ids.
    id=lambda row: str(row["row_number"]),
    cluster=lambda row: row["file_name"],
    groups={
        "platform": screenspot.platform,
        "element": lambda row: row["data_type"],
        "cell": lambda row: f"{screenspot.platform(row)}_{row['data_type']}",
    },
    meta=lambda row: {"question": row["instruction"], "image_size": row["size"]},
    metric=PointInBox(),
    max_new_tokens=128,
    size=1272,
    licence="Apache-2.0",
    citation="Cheng et al., SeeClick: Harnessing GUI Grounding for Advanced Visual GUI Agents, ACL 2024 "
    "(arXiv:2401.10935)",
    notes="The instruction takes the place of the expression in the family's request for a box; right is an "
    "answer whose point, or whose box's centre, lies in the element.",
    lmms_eval_notes="`screenspot_rec_test` asks for boxes from 0 to 1 and scores any other convention 0. "
    "Ours reads the family's own.",
    example={
        "row_number": 0,
        "file_name": "pc_ede36f9b.png",
        "bbox": [0.2, 0.1, 0.3, 0.15],
        "instruction": "close this window",
        "data_type": "icon",
        "data_source": "windows",
        "image": {"bytes": None, "path": "pc_ede36f9b.png"},
    },
)
