"""NExT-QA, multiple choice, test: why, how and when things happen in everyday videos."""

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.video_choice import by_letter, letter_at
from evalkit.core.columns import NAME, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Task, text, video

KINDS = {"C": "causal", "T": "temporal", "D": "descriptive"}


def options(row):
    return lettered(row[f"a{place}"].strip() for place in range(5))


task = Task(
    name="nextqa",
    category="video",
    title="NExT-QA MC test",
    dataset=HubDataset(
        "lmms-eval/NExTQA",
        "MC",
        split="test",
        aliases=("lmms-lab/NExTQA",),
        columns={
            "video": NAME,
            "question": TEXT,
            "answer": NAME,
            "qid": NAME,
            "type": TEXT,
            **{f"a{place}": TEXT for place in range(5)},
        },
        archives=("*.zip",),
        files={"path": tuple(f"{folder}{{video}}.mp4" for folder in ("NExTVideo/", "videos/", ""))},
    ),
    prompt=lambda row: (video(row["path"]), text(by_letter(row["question"].strip(), options(row)))),
    reference=lambda row: letter_at(row["answer"]),
    id=lambda row: f"{row['video']}-{row['qid']}",
    cluster=lambda row: str(row["video"]),
    groups={
        "kind": lambda row: KINDS[row["type"][0]],
        # As in the official script, "previous" counts with "next".
        "type": lambda row: "TN" if row["type"] == "TP" else row["type"],
    },
    meta=lambda row: {"question": row["question"], "options": options(row)},
    metric=MultipleChoice(),
    max_new_tokens=16,
    size=8564,
    licence="unverified",
    citation="Xiao et al., NExT-QA: Next Phase of Question-Answering to Explaining Temporal Actions, CVPR "
    "2021 (arXiv:2105.08276)",
    notes="Acc_C, Acc_T and Acc_D of the authors are `acc/kind/...`. The validation questions (4,996) are "
    "not in this repository.",
    lmms_eval_notes="`nextqa_mc_test` has no scores by question type and draws an option where it reads "
    "none.",
    example={
        "video": 4010069381,
        "qid": 6,
        "question": "why did the boy clap his hands",
        **{"a0": "to dance", "a1": "to cheer", "a2": "to dry them", "a3": "to call the dog", "a4": "to pray"},
        "answer": 1,
        "type": "CW",
        "path": "4010069381.mp4",
    },
)
