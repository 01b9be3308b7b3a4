"""Local mirrors of the image benchmarks' repositories: the hub's layout and schemas, drawn pictures.

Every builder writes below ``root`` and returns the rows that it wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirrors import png, write_split

from evalkit.metrics.blink import SUBTASKS

Rows = list[dict[str, Any]]


def picture(number: int) -> dict[str, Any]:
    """An image cell, of another colour for each number."""
    return {"bytes": png((37 * number % 256, 91 * number % 256, number)), "path": f"{number}.png"}


def build_chartqa_drawn_mirror(root: Path) -> Rows:
    """`lmms-lab-encoder/ChartQA` with drawn charts."""
    rows = [
        {
            "type": f"{('human', 'augmented')[number]}_test",
            "question": f"What is the value of bar {number}?",
            "answer": str(10 + number),
            "image": picture(number),
        }
        for number in range(2)
    ]
    return write_split(root, "lmms-lab-encoder/ChartQA", "test", rows)


def build_docvqa_test_mirror(root: Path) -> Rows:
    """`lmms-lab-encoder/DocVQA`, configuration DocVQA: the test split, without answers."""
    rows = [
        {
            "questionId": str(57344 + number),
            "question": f"What is the number on page {number}?",
            "image": picture(number),
            "ucsf_document_id": "pybv0228",
            "ucsf_document_page_no": str(number),
            "answers": None,
            "question_types": None,
            "docId": number,
            "data_split": "test",
        }
        for number in range(2)
    ]
    return write_split(root, "lmms-lab-encoder/DocVQA", "test", rows, "DocVQA")


def build_infovqa_mirror(root: Path, split: str = "validation") -> Rows:
    """`lmms-lab-encoder/DocVQA`, configuration InfographicVQA; the test split has no answers."""
    rows = [
        {
            "questionId": str(900 + number),
            "question": f"What share is in part {number}?",
            "answers": ["42%", "42 percent"] if split == "validation" else None,
            "answer_type": ["single span", "non-extractive"][: number + 1],
            "image": picture(number // 2),
            "image_url": f"https://example.org/{number // 2}.png",
            "operation/reasoning": ["counting"] if number else None,
            "ocr": "[]",
            "data_split": split[:4],
        }
        for number in range(3)
    ]
    return write_split(root, "lmms-lab-encoder/DocVQA", split, rows, "InfographicVQA")


def build_textvqa_mirror(root: Path, split: str = "validation") -> Rows:
    """`lmms-lab-encoder/textvqa`; the test split has no answers."""
    rows = [
        {
            "image_id": f"img{number // 2}",
            "question_id": 34602 + number,
            "question": f"what is written on sign {number}?",
            "image": picture(number // 2),
            "answers": ["stop"] * 7 + ["Stop!", "halt", "unanswerable"] if split == "validation" else [],
            "ocr_tokens": ["STOP"],
            "image_classes": ["Sign"],
        }
        for number in range(3)
    ]
    return write_split(root, "lmms-lab-encoder/textvqa", split, rows)


def build_mmbench_mirror(root: Path, language: str, split: str = "dev") -> Rows:
    """`lmms-lab-encoder/MMBench`: two to four options, a hint, and a rotation of the repository's own."""
    asked = "图中有什么?" if language == "cn" else "What is shown?"
    rows = [
        {
            "index": index,
            "question": asked,
            "hint": hint,
            "answer": answer if split == "dev" else None,
            **dict(zip("ABCD", (*options, "nan", "nan")[:4], strict=True)),
            "category": category,
            "image": picture(index % 1_000_000),
            "source": "drawn",
            "L2-category": l2,
            "comment": "nan",
            "split": split,
        }
        for index, hint, answer, options, category, l2 in (
            (241, "Look at it.", "C", ("cat", "dog", "cow", "hen"), "object_localization", "finegrained"),
            (252, "nan", "B", ("cat", "dog"), "image_scene", "coarse_perception"),
            (253, "nan", "A", ("cat", "dog", "cow"), "image_scene", "coarse_perception"),
            (1_000_252, "nan", "A", ("dog", "cat"), "image_scene", "coarse_perception"),
        )
    ]
    return write_split(root, "lmms-lab-encoder/MMBench", split, rows, language)


def build_mmstar_mirror(root: Path) -> Rows:
    """`Lin-Chen/MMStar`."""
    rows = [
        {
            "index": number,
            "question": f"What is shape {number}?\nOptions: A: round, B: flat, or nearly so, C: long",
            "image": picture(number),
            "answer": "ABC"[number],
            "category": ("math", "math", "coarse perception")[number],
            "l2_category": ("geometry", "statistical reasoning", "image emotion")[number],
            "meta_info": {"source": "drawn", "split": "val", "image_path": f"images/{number}.jpg"},
        }
        for number in range(3)
    ]
    return write_split(root, "Lin-Chen/MMStar", "val", rows)


def build_ocrbench_mirror(root: Path) -> Rows:
    """`echo840/OCRBench`: a word, a form and a formula."""
    asked = (
        ("IIIT5K", "what is written in the image?", "Regular Text Recognition", ["CENTRE"]),
        ("FUNSD", "What is the date?", "Key Information Extraction", ["12 May", "May 12"]),
        ("HME100k", "Write the formula.", "Handwritten Mathematical Expression Recognition", ["x + Y = 2"]),
    )
    rows = [
        {
            "dataset": dataset,
            "question": question,
            "question_type": kind,
            "answer": answers,
            "image": picture(number),
        }
        for number, (dataset, question, kind, answers) in enumerate(asked)
    ]
    return write_split(root, "echo840/OCRBench", "test", rows)


def build_ai2d_mirror(root: Path, repo: str = "lmms-lab-encoder/ai2d") -> Rows:
    """`lmms-lab-encoder/ai2d`, or the repository without masks."""
    rows = [
        {
            "question": f"Which label is part {number}?",
            "options": ["leaf", "stem", "root", "seed"][: number + 2],
            "answer": str(number),
            "image": picture(number),
        }
        for number in range(3)
    ]
    return write_split(root, repo, "test", rows)


def build_realworldqa_mirror(root: Path) -> Rows:
    """`lmms-lab-encoder/RealWorldQA`: a question with options, a number and a word."""
    letter = "\nPlease answer directly with only the letter of the correct option and nothing else."
    word = "\nPlease answer directly with a single word or number."
    asked = (
        (f"Which way does the car go?\n\nA. Left.\nB. Right.\nC. Straight.{letter}", "B"),
        (f"How many signs are there?{word}", "2"),
        (f"Is the light red?{word}", "Yes"),
    )
    rows = [
        {"image": picture(number), "image_path": f"{number}.webp", "question": question, "answer": answer}
        for number, (question, answer) in enumerate(asked)
    ]
    return write_split(root, "lmms-lab-encoder/RealWorldQA", "test", rows)


def build_blink_mirror(root: Path, split: str = "val") -> Rows:
    """`BLINK-Benchmark/BLINK`: one question in each configuration, with one to four images."""
    repo = "BLINK-Benchmark/BLINK"
    everything: Rows = []
    for number, config in enumerate(SUBTASKS):
        count = number % 4 + 1
        row = {
            "idx": f"{split}_{config}_1",
            "question": "Which one is nearer?",
            "sub_task": config,
            **{f"image_{k}": picture(10 * number + k) if k <= count else None for k in range(1, 5)},
            "choices": ["the first", "the second"],
            "answer": "(B)" if split == "val" else "hidden",
            "prompt": "Which one is nearer? Select from these choices.\n(A) the first\n(B) the second",
        }
        write_split(root, repo, split, [row], config)
        everything.append({**row, "config": config})
    return everything


def build_mathvista_mirror(root: Path) -> Rows:
    """`AI4Math/MathVista`: an option, a whole number, a decimal number and a list."""
    asked = (
        ("multi_choice", "text", ["65°", "75°"], None, "75°"),
        ("free_form", "integer", None, None, "12"),
        ("free_form", "float", None, 1.0, "1.2"),
        ("free_form", "list", None, None, "[0, 2]"),
    )
    metadata = {
        "category": "math-targeted-vqa",
        "context": "geometry diagram",
        "grade": "high school",
        "img_height": 48,
        "img_width": 64,
        "language": "english",
        "skills": ["geometry reasoning", "arithmetic reasoning"],
        "source": "Drawn",
        "split": "testmini",
        "task": "geometry problem solving",
    }
    rows = [
        {
            "pid": str(number + 1),
            "question": "What is x?",
            "image": f"images/{number + 1}.jpg",
            "decoded_image": picture(number),
            "choices": choices,
            "unit": None,
            "precision": precision,
            "answer": answer,
            "question_type": kind,
            "answer_type": answer_type,
            "metadata": metadata,
            "query": f"Hint: answer with {answer_type}.\nQuestion: What is x?",
        }
        for number, (kind, answer_type, choices, precision, answer) in enumerate(asked)
    ]
    return write_split(root, "AI4Math/MathVista", "testmini", rows)


def build_hallusionbench_mirror(root: Path) -> Rows:
    """`lmms-lab-encoder/HallusionBench`: a pair of questions about an original and an edited figure."""
    rows = [
        {
            "category": "VD",
            "subcategory": "illusion",
            "visual_input": "1" if figure == "0" else "2",
            "set_id": "3",
            "figure_id": figure,
            "sample_note": "lines",
            "question_id": question,
            "question": "Are the lines equally long?",
            "gt_answer_details": "",
            "gt_answer": "1" if figure == question else "0",
            "filename": f"./VD/illusion/3_{figure}.png",
            "image": picture(int(figure)),
        }
        for figure in "01"
        for question in "01"
    ]
    return write_split(root, "lmms-lab-encoder/HallusionBench", "image", rows)


def build_pope_mirror(root: Path) -> Rows:
    """`lmms-lab-encoder/POPE`: the three splits, whose ids begin again."""
    rows = [
        {
            "id": str(number),
            "question_id": str(number % 2 + 1),
            "question": "Is there a dog in the image?",
            "answer": ("yes", "no")[number % 2],
            "image_source": f"COCO_val2014_{number % 2:012}",
            "image": picture(number % 2),
            "category": ("random", "popular", "adversarial")[number // 2],
        }
        for number in range(6)
    ]
    for split in ("adversarial", "popular", "random"):
        held = [row for row in rows if row["category"] == split]
        write_split(root, "lmms-lab-encoder/POPE", split, held, "Full")
    return write_split(root, "lmms-lab-encoder/POPE", "test", rows)


def build_seedbench_mirror(root: Path) -> Rows:
    """`lmms-lab-encoder/SEED-Bench`: three questions about images and one about a video's frames."""
    rows = [
        {
            "answer": "ABCD"[number],
            **{f"choice_{letter}": f"{letter} {number}" for letter in "abcd"},
            "data_id": f"{1000 + number // 2}",
            "data_type": "video" if number == 3 else "image",
            "question": "What is it?",
            "question_id": str(101669 + number),
            "question_type_id": (1, 5, 9, 10)[number],
            "image": [picture(number)] * (8 if number == 3 else 1),
            "segment": None,
        }
        for number in range(4)
    ]
    return write_split(root, "lmms-lab-encoder/SEED-Bench", "test", rows)


BUILDERS: dict[str, Callable[[Path], Rows]] = {
    "infovqa_val": build_infovqa_mirror,
    "textvqa_val": build_textvqa_mirror,
    "mmbench_en_dev": lambda root: build_mmbench_mirror(root, "en"),
    "mmbench_cn_dev": lambda root: build_mmbench_mirror(root, "cn"),
    "mmstar": build_mmstar_mirror,
    "ocrbench": build_ocrbench_mirror,
    "ai2d": build_ai2d_mirror,
    "ai2d_no_mask": lambda root: build_ai2d_mirror(root, "Efficient-Large-Model/ai2d-no-mask"),
    "realworldqa": build_realworldqa_mirror,
    "blink": build_blink_mirror,
    "mathvista_testmini": build_mathvista_mirror,
    "hallusionbench": build_hallusionbench_mirror,
    "pope": build_pope_mirror,
    "seedbench_image": build_seedbench_mirror,
}

# Splits without public answers.
HIDDEN: dict[str, Callable[[Path], Rows]] = {
    "docvqa_test": build_docvqa_test_mirror,
    "infovqa_test": lambda root: build_infovqa_mirror(root, "test"),
    "textvqa_test": lambda root: build_textvqa_mirror(root, "test"),
    "blink_test": lambda root: build_blink_mirror(root, "test"),
    "mmbench_en_test": lambda root: build_mmbench_mirror(root, "en", "test"),
    "mmbench_cn_test": lambda root: build_mmbench_mirror(root, "cn", "test"),
}


def build_image_mirrors(root: Path) -> None:
    """Everything that the image tasks read, but MMMU and DocVQA val."""
    build_chartqa_drawn_mirror(root)
    for build in (*BUILDERS.values(), *HIDDEN.values()):
        build(root)
