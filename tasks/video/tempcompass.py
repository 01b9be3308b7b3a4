"""TempCompass: five temporal aspects, asked in three formats that rules can judge."""

from evalkit.core.columns import TEXT
from evalkit.metrics.tempcompass import TempCompassAccuracy
from evalkit.task import HubDataset, Task, text, video

# The official words after a question, by format.
ENDINGS = {
    "multi-choice": "\nPlease directly give the best option:",
    "yes_no": "\nPlease answer yes or no:",
    "caption_matching": "\nPlease directly give the best option:",
}

task = Task(
    name="tempcompass",
    category="video",
    title="TempCompass",
    dataset=HubDataset(
        "lmms-eval/TempCompass",
        tuple(ENDINGS),
        split="test",
        aliases=("lmms-lab/TempCompass",),
        columns={"video_id": TEXT, "question": TEXT, "answer": TEXT, "dim": TEXT},
        archives=("*.zip",),
        files={"path": ("videos/{video_id}.mp4", "{video_id}.mp4")},
    ),
    prompt=lambda row: (video(row["path"]), text(row["question"] + ENDINGS[row["config"]])),
    reference=lambda row: row["answer"],
    # The repository has no ids.
    id=lambda row: f"{row['config']}-{row['row_number']}",
    cluster=lambda row: row["video_id"],
    groups={"task": lambda row: row["config"], "dim": lambda row: row["dim"]},
    meta=lambda row: {"question": row["question"]},
    metric=TempCompassAccuracy(),
    max_new_tokens=128,
    size=5536,
    licence="CC-BY-NC-4.0",
    citation="Liu et al., TempCompass: Do Video LLMs Really Understand Videos?, Findings of ACL 2024 "
    "(arXiv:2403.00476)",
    notes="1,580 multiple-choice, 2,453 yes/no and 1,503 caption-matching questions, judged by the official "
    "rules alone; what they can't match is wrong and counted as a parse failure (officially ChatGPT is "
    "asked then). The fourth format, 2,004 captions, needs a language model as a judge and is not part of "
    "this task.",
    lmms_eval_notes="`tempcompass_*` needs ChatGPT for what its rules can't match; TempCompass's authors "
    "call its scores by aspect possibly incorrect. Ours follows the official rules.",
    example={
        "config": "multi-choice",
        "row_number": 0,
        "video_id": "1034419625",
        "question": "What is the man doing?\nA. dunking a basketball\nB. dribbling a basketball",
        "answer": "A. dunking a basketball",
        "dim": "action",
        "path": "1034419625.mp4",
    },
)
