"""MMMU validation: college-level questions in 30 subjects, with images in questions and options."""

from evalkit.benchmarks import mmmu
from evalkit.core.columns import IMAGE, TEXT, ColumnType
from evalkit.metrics.mmmu import DISCIPLINES, MmmuAccuracy
from evalkit.task import HubDataset, Task, Text, image

DISCIPLINE_OF = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects}


def prompt(row):
    return tuple(part if isinstance(part, Text) else image(part) for part in mmmu.prompt(row))


task = Task(
    name="mmmu_val",
    category="image",
    title="MMMU val",
    paper_row="MMMU",
    dataset=HubDataset(
        "MMMU/MMMU",
        config=tuple(sorted(DISCIPLINE_OF)),
        split="validation",
        columns={
            "id": TEXT,
            "question": TEXT,
            "options": ColumnType(("text", "list of text"), null=True),
            "answer": TEXT,
            "question_type": TEXT,
            "image_1": IMAGE,
            **dict.fromkeys(mmmu.IMAGE_COLUMNS[1:], IMAGE.or_null),
        },
    ),
    prompt=prompt,
    reference=mmmu.reference,
    id=lambda row: row["id"],
    cluster=lambda row: row["id"],
    groups={
        "discipline": lambda row: DISCIPLINE_OF[mmmu.subject(row)],
        "subject": mmmu.subject,
        "question_type": lambda row: row["question_type"],
    },
    meta=lambda row: {"question": row["question"], "options": mmmu.options(row)},
    metric=MmmuAccuracy(),
    max_new_tokens=512,
    size=900,
    licence="Apache-2.0",
    citation="Yue et al., MMMU: A Massive Multi-discipline Multimodal Understanding Benchmark, CVPR 2024 "
    "(arXiv:2311.16502)",
    notes="Wording of Qwen2-VL's evaluation, but images stand where the text mentions them instead of all "
    "in front. 847 questions are multiple-choice, 53 open.",
    lmms_eval_notes="`mmmu_val` gives 0 to every open question that the official script accepts (issue 1436 "
    "there), takes `A` at the end of any word for option A, and draws an option without a seed where it "
    "reads none. Ours follows the official script.",
    example={
        "id": "validation_Physics_7",
        "question": "What does the gauge in <image 1> show?",
        "options": "['1 bar', '2 bar', '4 bar']",
        "answer": "B",
        "question_type": "multiple-choice",
        "image_1": {"bytes": None, "path": "gauge.png"},
    },
)
