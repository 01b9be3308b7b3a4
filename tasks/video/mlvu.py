"""MLVU: multiple-choice questions about videos of three minutes to two hours."""

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.video_choice import letter_of, split_question, watch_closely
from evalkit.core.columns import TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Row, Task, text, video


def repository(name: str) -> HubDataset:
    """The multiple-choice questions of a split; the videos lie in zip archives."""
    return HubDataset(
        name,
        split="test",
        columns={"video_name": TEXT, "question": TEXT, "answer": TEXT, "task_type": TEXT},
        archives=("*.zip",),
        files={"path": ("{video_name}", "video/{video_name}", "videos/{video_name}")},
    )


def question(row: Row) -> str:
    """The question without its options."""
    return split_question(row["question"])[0]


def options(row: Row) -> dict[str, str]:
    """Options by letter: those in the question's text, else the candidates beside it."""
    return split_question(row["question"])[1] or lettered(row.get("candidates") or ())


def reference(row: Row) -> str:
    r"""The right letter, from a letter or from the option's text.

    Raises:
        ValueError: it is the letter of one option and the text of another.

    >>> reference({"question": "Q?\n(A) x\n(B) y", "answer": "y"})
    'B'
    """
    answer, found = str(row["answer"]).strip(), options(row)
    bare = answer.strip("().")
    if bare not in found:
        return letter_of(answer, found.values())
    if any(text.strip() == answer for letter, text in found.items() if letter != bare):
        raise ValueError(f"the answer {answer!r} is an option's letter and another one's text")
    return bare


def mlvu_task(*, repo, **declared):
    """The task of one split, which has a repository of its own."""
    return Task(
        **declared,
        dataset=repository(repo),
        prompt=lambda row: (
            video(row["path"]),
            text(watch_closely(question(row), options(row))),
        ),
        reference=reference,
        # The repositories have no ids.
        id=lambda row: str(row["row_number"]),
        cluster=lambda row: row["video_name"],
        groups={"task_type": lambda row: row["task_type"]},
        meta=lambda row: {"question": question(row), "options": options(row)},
        metric=MultipleChoice(macro="task_type"),
        max_new_tokens=16,
        licence="CC-BY-NC-SA-4.0; academic research only",
        citation="Zhou et al., MLVU: Benchmarking Multi-task Long Video Understanding, CVPR 2025 "
        "(arXiv:2406.04264)",
        example={
            "row_number": 0,
            "video_name": "plotQA/movie101_66.mp4",
            "question": "What colour is the main actor's coat?\n(A) Yellow\n(B) Red\n(C) Blue\n(D) Green",
            "answer": "B",
            "task_type": "plotQA",
            "path": "movie101_66.mp4",
        },
    )


tasks = (
    mlvu_task(
        name="mlvu_dev",
        category="video",
        title="MLVU dev",
        paper_row="MLVU",
        repo="sy1998/MLVU_dev",
        size=2174,
        notes="The paper's digits fit the mean over questions. MLVU's authors report M-Avg, the unweighted "
        "mean of the seven task types in the breakdown. Their own files hold 2,175 questions.",
        lmms_eval_notes="`mlvu_dev` reports M-Avg, which is `macro_acc` here; the paper's digits fit `acc`.",
    ),
    # Nine task types, up to six options each.
    mlvu_task(
        name="mlvu_test",
        category="video",
        title="MLVU test",
        repo="sy1998/MLVU_Test",
        size=502,
        notes="`macro_acc` is the authors' M-Avg, the mean of nine task types. The repository is the one "
        "that lmms-eval scores.",
        lmms_eval_notes="`mlvu_test` can read only A to D of up to six options. Ours reads all.",
    ),
)
