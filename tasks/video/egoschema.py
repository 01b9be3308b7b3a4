"""EgoSchema: one five-way question about each three-minute egocentric clip.

Of 5,031 questions, the answers of 500 are public (``egoschema_subset``); for all of them the file that the
Kaggle competition takes is written.
"""

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.submissions import EGOSCHEMA
from evalkit.benchmarks.video_choice import by_letter, letter_at
from evalkit.core.columns import NAME, OPTIONS, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.unscored import Unscored
from evalkit.task import HubDataset, Task, text, video


def options(row):
    """Options by letter."""
    return lettered(row["option"], written=True)


def egoschema_task(*, config, answers, **declared):
    """The task of one configuration; ``answers`` is what its column of answers holds."""
    return Task(
        **declared,
        dataset=HubDataset(
            "lmms-eval/egoschema",
            config,
            split="test",
            aliases=("lmms-lab/egoschema",),
            columns={
                "question_idx": NAME,
                "question": TEXT,
                "video_idx": TEXT,
                "option": OPTIONS,
                "answer": answers,
            },
            archives=("*.zip",),
            files={"path": tuple(f"{d}{{video_idx}}.{s}" for d in ("videos/", "") for s in ("mp4", "MP4"))},
        ),
        prompt=lambda row: (video(row["path"]), text(by_letter(row["question"], options(row)))),
        id=lambda row: row["video_idx"],
        cluster=lambda row: row["video_idx"],
        meta=lambda row: {"question": row["question"], "options": options(row)},
        max_new_tokens=16,
        licence="unverified (annotations); clips under Ego4D's licence",
        citation="Mangalam et al., EgoSchema: A Diagnostic Benchmark for Very Long-form Video Language "
        "Understanding, NeurIPS 2023 Datasets and Benchmarks (arXiv:2308.09126)",
        example={
            "question_idx": "0",
            "video_idx": "0074f737-11cb-497d-8d07-77c3a8127391",
            "question": "What does C mainly do in the video?",
            "option": [
                "A. C cooks.",
                "B. C cleans.",
                "C. C repairs a bicycle.",
                "D. C reads.",
                "E. C paints.",
            ],
            "answer": "2",
            "path": "0074f737-11cb-497d-8d07-77c3a8127391.mp4",
        },
    )


tasks = (
    egoschema_task(
        name="egoschema",
        category="video",
        title="EgoSchema (submission)",
        tags=("submission",),
        config="MC",
        answers=NAME.or_null,
        reference=lambda row: None,
        metric=Unscored(),
        submission=EGOSCHEMA,
        size=5031,
        notes="An answer in which no option can be read is written as -1. `egoschema_subset` scores the 500 "
        "questions whose answers are public.",
    ),
    egoschema_task(
        name="egoschema_subset",
        category="video",
        title="EgoSchema subset",
        config="Subset",
        answers=NAME,
        reference=lambda row: letter_at(row["answer"]),
        metric=MultipleChoice(),
        size=500,
        notes="The 500 of 5,031 questions whose answers are public.",
        lmms_eval_notes="`egoschema_subset` draws an option where it reads none.",
    ),
)
