"""MLVU: multiple-choice questions about videos of three minutes to two hours."""

from evalkit.benchmarks import mlvu
from evalkit.benchmarks.video_choice import watch_closely
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, text, video


def mlvu_task(*, repo, **declared):
    """The task of one split, which has a repository of its own."""
    return Task(
        **declared,
        dataset=mlvu.repository(repo),
        prompt=lambda row: (
            video(row["path"]),
            text(watch_closely(mlvu.question(row), mlvu.options(row))),
        ),
        reference=mlvu.reference,
        # The repositories have no ids.
        id=lambda row: str(row["row_number"]),
        cluster=lambda row: row["video_name"],
        groups={"task_type": lambda row: row["task_type"]},
        meta=lambda row: {"question": mlvu.question(row), "options": mlvu.options(row)},
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
