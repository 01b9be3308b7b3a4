"""Video-MME with and without subtitles: multiple-choice questions about short, medium and long videos."""

from pathlib import Path

from evalkit.benchmarks.options import lettered, option_lines
from evalkit.core.columns import OPTIONS, TEXT
from evalkit.core.types import Subtitled
from evalkit.data.subtitles import parse_srt
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Row, Task, Text, text, video

LABELS = ("duration", "domain", "sub_category", "task_type")


def options(row: Row) -> dict[str, str]:
    """Options by letter."""
    return lettered(row["options"], written=True)


def wording(row: Row, source: str = "the video") -> str:
    """The question in the words of Video-MME's authors, to be answered from ``source``."""
    return (
        f"Select the best answer to the following multiple-choice question based on {source}. "
        "Respond with only the letter (A, B, C, or D) of the correct option.\n"
        f"{row['question']}\n{option_lines(options(row))}\nThe best answer is:"
    )


def with_subtitles(row: Row) -> Text | Subtitled:
    """The question after the subtitles that are on screen in one of the frames shown, one a line; without a
    subtitle file, or any on screen, the question alone.
    """
    if row["subtitle"] is None:
        return Text(wording(row))
    return Subtitled(
        tuple(parse_srt(Path(row["subtitle"]).read_text(encoding="utf-8", errors="replace"))),
        "This video's subtitles are listed below:\n",
        f"\n\n{wording(row, 'the video and the subtitles')}",
        wording(row),
    )


def videomme_task(*, question, **declared):
    """The task with one wording of the ``question``."""
    return Task(
        **declared,
        # 900 videos in zip archives, three questions each; subtitles for 744 of them.
        dataset=HubDataset(
            "lmms-eval/Video-MME",
            "videomme",
            split="test",
            aliases=("lmms-lab/Video-MME",),
            columns={
                "videoID": TEXT,
                "question_id": TEXT,
                "question": TEXT,
                "options": OPTIONS,
                "answer": TEXT,
                **dict.fromkeys(LABELS, TEXT),
            },
            archives=("videos_chunked_*.zip", "subtitle.zip"),
            files={
                "video": tuple(f"data/{{videoID}}.{suffix}" for suffix in ("mp4", "MP4", "mkv")),
                "subtitle": ("subtitle/{videoID}.srt",),
            },
            optional=("subtitle",),
        ),
        prompt=lambda row: (video(row["video"]), question(row)),
        reference=lambda row: row["answer"],
        id=lambda row: row["question_id"],
        cluster=lambda row: row["videoID"],
        groups={label: lambda row, label=label: str(row[label]) for label in LABELS},
        meta=lambda row: {"question": row["question"], "options": options(row)},
        metric=MultipleChoice(letters.video_mme, answered=True),
        max_new_tokens=16,
        size=2700,
        licence="academic research only; videos belong to their YouTube authors",
        citation="Fu et al., Video-MME: The First-Ever Comprehensive Evaluation Benchmark of Multi-modal "
        "LLMs in Video Analysis, CVPR 2025 (arXiv:2405.21075)",
        example={
            "videoID": "fFjv93ACGo8",
            "question_id": "001-1",
            "question": "How many apples lie on the table?",
            "options": ["A. Two.", "B. Three.", "C. Four.", "D. Five."],
            "answer": "B",
            "duration": "short",
            "domain": "Knowledge",
            "sub_category": "Biology",
            "task_type": "Counting Problem",
            "video": "fFjv93ACGo8.mp4",
            "subtitle": None,
        },
    )


tasks = (
    videomme_task(
        name="videomme",
        category="video",
        title="Video-MME",
        paper_row="VideoMME",
        question=lambda row: text(wording(row)),
        notes="900 videos, 300 of each duration class, three questions each.",
        lmms_eval_notes="`videomme` divides by all questions, as `acc` does here, and reads 23 of 270 "
        "constructed answers otherwise; the official script divides by the answered ones (`official_acc`).",
    ),
    videomme_task(
        name="videomme_w_subtitle",
        category="video",
        title="Video-MME with subtitles",
        question=with_subtitles,
        notes="744 of the 900 videos have subtitles; the prompt of the others, and of those with no "
        "subtitle on screen in any frame shown, is that of `videomme`.",
        lmms_eval_notes="`videomme_w_subtitle` asks for a single word or phrase by default, and shows other "
        "subtitles. Ours shows those of the frames that the model is shown, as the authors say.",
    ),
)
