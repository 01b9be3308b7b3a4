"""HallusionBench: yes/no questions in pairs, about original and edited figures."""

from evalkit.benchmarks.wording import yes_or_no
from evalkit.core.columns import IMAGE, NAME, TEXT
from evalkit.metrics.hallusion import LINKS, HallusionAccuracy
from evalkit.task import HubDataset, Task, image

NAMES = ("category", "subcategory", "set_id", "figure_id", "question_id")


def label(name):
    return lambda row: str(row[name])


task = Task(
    name="hallusionbench",
    category="image",
    title="HallusionBench (image)",
    dataset=HubDataset(
        "lmms-lab-encoder/HallusionBench",
        split="image",
        aliases=("lmms-lab/HallusionBench",),
        columns={
            **dict.fromkeys(NAMES, NAME),
            "visual_input": NAME,
            "question": TEXT,
            "gt_answer": NAME,
            "filename": TEXT,
            "image": IMAGE,
        },
    ),
    prompt=lambda row: (image(row["image"]), yes_or_no(row["question"])),
    reference=lambda row: str(row["gt_answer"]),
    id=lambda row: "_".join(str(row[name]) for name in NAMES),
    cluster=lambda row: row["filename"],
    unit=lambda row: "_".join(str(row[name]) for name in NAMES[:3]),
    groups={"category": label("category"), "subcategory": label("subcategory")},
    links={name: label(name) for name in LINKS},
    meta=lambda row: {"question": row["question"]},
    metric=HallusionAccuracy(),
    max_new_tokens=16,
    size=951,
    licence="BSD-3-Clause",
    citation="Guan et al., HallusionBench: An Advanced Diagnostic Suite for Entangled Language "
    "Hallucination and Visual Illusion in Large Vision-Language Models, CVPR 2024 (arXiv:2310.14566)",
    notes="The 951 questions with an image of 1,129. The official script has GPT-4 judge; here the answer's "
    "yes or no decides. `aAcc` is over questions, `qAcc` over pairs, `fAcc` over figures.",
    lmms_eval_notes="`hallusion_bench_image` needs GPT-4; without a key every answer is unclear and wrong. "
    "Ours reads yes and no by rule.",
    example={
        "category": "VD",
        "subcategory": "illusion",
        "set_id": "0",
        "figure_id": "1",
        "question_id": "0",
        "visual_input": "2",
        "question": "Is the left circle larger than the right one?",
        "gt_answer": "1",
        "filename": "./VD/illusion/0_1.png",
        "image": {"bytes": None, "path": "0_1.png"},
    },
)
