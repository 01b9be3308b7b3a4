"""InfographicVQA test: no public answers; writes the file that the Robust Reading Competition takes."""

from evalkit.benchmarks.submissions import RRC
from evalkit.benchmarks.wording import short_answer
from evalkit.core.columns import IMAGE, NAME, TEXT
from evalkit.metrics.unscored import Unscored
from evalkit.task import HubDataset, Task, image

task = Task(
    name="infovqa_test",
    category="image",
    title="InfoVQA test (submission)",
    dataset=HubDataset(
        "lmms-lab-encoder/DocVQA",
        "InfographicVQA",
        split="test",
        aliases=("lmms-lab/DocVQA",),
        columns={"questionId": NAME, "question": TEXT, "image": IMAGE, "image_url": TEXT},
    ),
    prompt=lambda row: (image(row["image"]), short_answer(row["question"])),
    reference=lambda row: None,
    id=lambda row: str(row["questionId"]),
    cluster=lambda row: str(row["image_url"]),
    meta=lambda row: {"question": row["question"]},
    metric=Unscored(),
    submission=RRC,
    max_new_tokens=32,
    size=3288,
    tags=("submission",),
    licence="Apache-2.0 (repository); infographics belong to their publishers",
    citation="Mathew et al., InfographicVQA, WACV 2022 (arXiv:2104.12756)",
    example={
        "questionId": "80001",
        "question": "What share of people walk to work?",
        "image_url": "https://example.org/walking.png",
        "image": {"bytes": None, "path": "walking.png"},
    },
)
