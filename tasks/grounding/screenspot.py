"""ScreenSpot: find the element of a screenshot that an instruction is about."""

from collections.abc import Iterator

from evalkit.core.columns import IMAGE, NUMBERS, TEXT
from evalkit.data.images import embedded_size
from evalkit.metrics.points import PointInBox
from evalkit.task import HubDataset, Row, Task, image, locate

# An edge may lie a little outside.
_SLACK = 0.1
_PLATFORMS = {"ios": "mobile", "android": "mobile", "macos": "desktop", "windows": "desktop"}


def in_pixels(row: Row) -> Iterator[Row]:
    """The row with ``box`` in pixels of the screenshot (the repository gives shares of its size) and
    ``size``; without an image that can be read, the sample fails when it is decoded.

    Raises:
        ValueError: the box is not within the screenshot, such as one in pixels.
    """
    size = embedded_size(row["image"])
    width, height = size or (1, 1)
    x1, y1, x2, y2 = row["bbox"]
    if not all(-_SLACK <= edge <= 1 + _SLACK for edge in row["bbox"]):
        raise ValueError(f"its box {row['bbox']} is not in shares of the screenshot's size, from 0 to 1")
    yield {**row, "size": size, "box": [x1 * width, y1 * height, x2 * width, y2 * height]}


def platform(row: Row) -> str:
    """``mobile``, ``desktop`` or ``web`` (web sites are named by what they are).

    >>> platform({"data_source": "android"}), platform({"data_source": "gitlab"})
    ('mobile', 'web')
    """
    return _PLATFORMS.get(row["data_source"], "web")


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
    expand=in_pixels,
    prompt=lambda row: (image(row["image"]), locate(row["instruction"])),
    reference=lambda row: row["box"],
    # The repository has no ids.
    id=lambda row: str(row["row_number"]),
    cluster=lambda row: row["file_name"],
    groups={
        "platform": platform,
        "element": lambda row: row["data_type"],
        "cell": lambda row: f"{platform(row)}_{row['data_type']}",
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
