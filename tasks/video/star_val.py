"""STAR validation: situated reasoning about a clip of a household video, in four question types."""

from collections.abc import Mapping

from evalkit.benchmarks.charades import HINT, video_paths
from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.video_choice import letter_of, watch_closely
from evalkit.core.columns import NUMBER, TEXT, ColumnType
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Row, Task, text, video

CONFIGS = ("interaction", "sequence", "prediction", "feasibility")


def repository() -> HubDataset:
    """Four configurations; the videos are Charades' at 480p, which the repository has not."""
    return HubDataset(
        "zechen-nlp/star_bench",
        CONFIGS,
        split="validation",
        columns={
            "video_id": TEXT,
            "question": TEXT,
            "choices": ColumnType(("list of record", "record")),
            "answer": TEXT,
            "start": NUMBER,
            "end": NUMBER,
        },
        files={"path": video_paths("video_id")},
        files_hint=HINT,
    )


def options(row: Row) -> dict[str, str]:
    """Options by letter, in the order of their numbers; a list of structs or a struct of lists.

    >>> options({"choices": [{"choice_id": 1, "choice": "b"}, {"choice_id": 0, "choice": "a"}]})
    {'A': 'a', 'B': 'b'}
    >>> options({"choices": {"choice_id": [0, 1], "choice": ["a", "b"]}})
    {'A': 'a', 'B': 'b'}

    Raises:
        ValueError: two have the same number.
    """
    choices = row["choices"]
    if isinstance(choices, Mapping):
        numbered = sorted(zip(choices["choice_id"], choices["choice"], strict=True))
    else:
        numbered = sorted((choice["choice_id"], choice["choice"]) for choice in choices)
    numbers = [number for number, _ in numbered]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"the numbers of its choices are {numbers}")
    return lettered(text for _, text in numbered)


task = Task(
    name="star_val",
    category="video",
    title="STAR val",
    paper_row="STAR",
    dataset=repository(),
    prompt=lambda row: (
        video(row["path"], float(row["start"]), float(row["end"])),
        text(watch_closely(row["question"], options(row))),
    ),
    reference=lambda row: letter_of(row["answer"], options(row).values()),
    id=lambda row: f"{row['config']}-{row['row_number']}",
    cluster=lambda row: row["video_id"],
    groups={"question_type": lambda row: row["config"]},
    meta=lambda row: {"question": row["question"], "options": options(row)},
    metric=MultipleChoice(macro="question_type"),
    max_new_tokens=16,
    size=7098,
    licence="unverified (annotations); videos under Charades' licence, not for commercial use",
    citation="Wu et al., STAR: A Benchmark for Situated Reasoning in Real-World Videos, NeurIPS 2021 "
    "Datasets and Benchmarks (arXiv:2405.09711)",
    notes="Clips are cut to their start and end. The score is the mean over questions, as recent papers "
    "give it; the official board is titled `Mean`, which may be that of the four types in the breakdown. "
    "3,586 questions about sequences, 2,398 interaction, 624 prediction and 490 feasibility.",
    lmms_eval_notes="lmms-eval has no STAR task.",
    example={
        "config": "interaction",
        "row_number": 0,
        "video_id": "6H78U",
        "question": "Which object was put down by the person?",
        "choices": {"choice_id": [0, 1, 2, 3], "choice": ["The bag.", "The cup.", "The book.", "The box."]},
        "answer": "The cup.",
        "start": 11.1,
        "end": 19.6,
        "path": "6H78U.mp4",
    },
)
