"""What a benchmark file imports: ``from evalkit.task import Task, HubDataset, Rows, image, text, video``."""

from evalkit.core.submission import Submission
from evalkit.core.task import Dataset, Row, Task, Text, image, locate, text, video
from evalkit.data.hub import HubDataset
from evalkit.data.rows import Rows

__all__ = [
    "Dataset",
    "HubDataset",
    "Row",
    "Rows",
    "Submission",
    "Task",
    "Text",
    "image",
    "locate",
    "text",
    "video",
]
