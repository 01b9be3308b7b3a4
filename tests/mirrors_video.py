"""Local mirrors of the video benchmarks' repositories: the hub's layout and schemas, drawn clips.

Every builder writes below ``root`` and returns the rows that it wrote, each with what the task should
make of it: ``expected`` holds the video's bytes (or frames), the right letter or text, the options.
"""

from __future__ import annotations

import functools
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mirrors import write_split

Rows = list[dict[str, Any]]

SECONDS, RATE, SIZE = 4, 8, (64, 48)


@functools.lru_cache(maxsize=64)
def clip(name: str, suffix: str = "mp4") -> bytes:
    """Four drawn seconds at eight frames a second: the grey grows, and the name sets the shade."""
    import av
    import numpy as np

    codec = {"mp4": "libx264", "webm": "libvpx-vp9"}[suffix]
    shade = sum(name.encode()) % 60
    with tempfile.NamedTemporaryFile(suffix=f".{suffix}") as file:
        with av.open(file.name, "w") as container:
            stream: Any = container.add_stream(codec, rate=RATE)
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for number in range(SECONDS * RATE):
                grey = np.full((SIZE[1], SIZE[0], 3), shade + 4 * number, np.uint8)
                for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        return Path(file.name).read_bytes()


def frames(name: str, count: int = 12) -> dict[str, bytes]:
    """A clip as numbered JPEG files."""
    from PIL import Image

    found = {}
    for number in range(1, count + 1):
        buffer = io.BytesIO()
        Image.new("RGB", SIZE, (20 * number,) * 3).save(buffer, "JPEG")
        found[f"{name}/{number:05d}.jpg"] = buffer.getvalue()
    return found


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_tar_parts(path: Path, members: Mapping[str, bytes], size: int) -> None:
    """A tar file cut into parts of ``size`` bytes, named as `split` names them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    for number, start in enumerate(range(0, len(content), size)):
        part = path.with_name(f"{path.name}.part.{chr(97 + number // 26)}{chr(97 + number % 26)}")
        part.write_bytes(content[start : start + size])


def build_star_mirror(root: Path) -> Rows:
    """`zechen-nlp/star_bench` with two questions of each type, and Charades' videos beside it."""
    texts = ("The closet.", "The blanket.", "The clothes.", "The table.")
    configs = ("interaction", "sequence", "prediction", "feasibility")
    everything: Rows = []
    for place, config in enumerate(configs):
        rows = [
            {
                "question_id": f"{config.title()}_T1_{number}",
                "question": f"Which object is {number} in {config}?",
                "video_id": f"6H7{place}U",
                "start": 0.5 + number,
                "end": 2.25 + number,
                "answer": texts[(place + number) % 4],
                "choices": [{"choice_id": each, "choice": text} for each, text in enumerate(texts)],
            }
            for number in range(2)
        ]
        write_split(root, "zechen-nlp/star_bench", "validation", rows, config)
        write_split(root, "zechen-nlp/star_bench", "train", rows[:1], config)
        everything += [{**row, "config": config} for row in rows]
        video = root / f"charades/Charades_v1_480/6H7{place}U.mp4"
        video.parent.mkdir(parents=True, exist_ok=True)
        video.write_bytes(clip(video.stem))
    return everything


MLVU_TYPES = ("plotQA", "findNeedle", "ego", "count", "order", "anomaly_reco", "topic_reasoning")


def build_mlvu_mirror(root: Path, name: str = "MLVU_dev") -> Rows:
    """`sy1998/MLVU_dev`: a question of each type, options in the question's text, two archives."""
    folder = root / "sy1998" / name
    rows: Rows = [
        {
            "video_name": f"{kind}_{number}.mp4",
            "duration": 480.0,
            "question": f"What about {kind}?\n(A) red\n(B) two\nlines\n(C) blue\n(D) green",
            "candidates": ["red", "two\nlines", "blue", "green"],
            "answer": "ABCD"[number % 4],
            "task_type": kind,
        }
        for number, kind in enumerate(MLVU_TYPES)
    ]
    write_split(root, f"sy1998/{name}", "test", rows)
    for part in (1, 2):
        names = [row["video_name"] for row in rows][part - 1 :: 2]
        write_zip(folder / f"video_part_{part}.zip", {each: clip(each) for each in names})
    return rows


def build_lvbench_mirror(root: Path) -> Rows:
    """`lmms-eval/LVBench`: options in the question's text, one to three types a question."""
    folder = root / "lmms-eval" / "LVBench"
    kinds = (["entity recognition"], ["reasoning", "summarization"], ["temporal grounding"])
    rows: Rows = [
        {
            "key": "Cm73ma6Ibcs",
            "uid": str(number),
            "video_path": ("Cm73ma6Ibcs.mp4", "Cm73ma6Ibcs.mp4", "28CIeC8cZks.mp4")[number],
            "type": "cartoon",
            "question": f"What year is {number}?\n(A) 1636\n(B) 1366\n(C) 1363\n(D) 1633",
            "question_type": kinds[number],
            "answer": "DBA"[number],
            "time_reference": "00:15-00:19",
        }
        for number in range(3)
    ]
    write_split(root, "lmms-eval/LVBench", "train", rows)
    for number, name in enumerate(dict.fromkeys(row["video_path"] for row in rows)):
        write_zip(folder / f"video_chunks/videos_chunk_{number:03}.zip", {name: clip(name)})
    return rows


def build_charades_sta_mirror(root: Path) -> Rows:
    """`lmms-eval/charades_sta`: spans as float16, whose rounding is taken back."""
    import numpy as np

    folder = root / "lmms-eval" / "charades_sta"
    spans = ((24.3, 30.4), (0.0, 3.4), (1.1, 99.9))
    rows: Rows = [
        {
            "video": f"3MSZ{number // 2}.mp4",
            "caption": f"person turn light {number}",
            "timestamp": np.array(span, np.float16),
        }
        for number, span in enumerate(spans)
    ]
    write_split(root, "lmms-eval/charades_sta", "test", rows)
    for part, name in enumerate(sorted({row["video"] for row in rows}), start=1):
        write_zip(folder / f"Charades_v1_480_part_{part}.zip", {f"Charades_v1_480/{name}": clip(name)})
    return [{**row, "span": list(span)} for row, span in zip(rows, spans, strict=True)]


def build_longvideobench_mirror(root: Path) -> Rows:
    """`longvideobench/LongVideoBench`: no card, rows also as JSON, videos in a tar file cut in parts."""
    folder = root / "longvideobench" / "LongVideoBench"
    rows: Rows = [
        {
            "video_id": f"86CxyhFV9M{number}",
            "question": f"What is on screen at {number}?",
            **{f"option{place}": f"thing {place}" if place <= number + 1 else "N/A" for place in range(5)},
            "correct_choice": number,
            "topic_category": "NP-News-Programs",
            "question_category": ("S2E", "O2E", "SSS", "TAA")[number],
            "id": f"86CxyhFV9M{number}_0",
            "video_path": f"86CxyhFV9M{number}.mp4",
            "subtitle_path": f"86CxyhFV9M{number}_en.json",
            "duration_group": (15, 60, 600, 3600)[number],
            "starting_timestamp_for_subtitles": 0.0,
            "duration": 4.0,
        }
        for number in range(4)
    ]
    hidden = [{**row, "correct_choice": -1} for row in rows[:1]]
    write_split(root, "longvideobench/LongVideoBench", "validation", rows)
    write_split(root, "longvideobench/LongVideoBench", "test", hidden)
    (folder / "lvb_val.json").write_text(json.dumps(rows))
    (folder / "lvb_test_wo_gt.json").write_text(json.dumps(hidden))
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-sa-4.0\n---\n# Dataset Card\n")
    videos = {f"videos/{row['video_path']}": clip(row["video_path"]) for row in rows}
    write_tar_parts(folder / "videos.tar", videos, 5000)
    return rows


def build_tempcompass_mirror(root: Path) -> Rows:
    """`lmms-eval/TempCompass`: a question in each of three formats, and a caption."""
    folder = root / "lmms-eval" / "TempCompass"
    formats = {
        "multi-choice": ("What is he doing?\nA. dunking\nB. dribbling", "B. dribbling"),
        "yes_no": ("Is he dunking?", "no"),
        "caption_matching": (
            "Which description is a more suitable match for the video?\n"
            "Option 1: He is dunking.\nOption 2: He is dribbling.",
            "Option 2: He is dribbling.",
        ),
        "captioning": ("Describe him.", "A. dunking"),
    }
    rows: Rows = [
        {"video_id": f"10344196{n}", "question": asked, "answer": answer, "dim": "action", "config": config}
        for n, (config, (asked, answer)) in enumerate(formats.items())
    ]
    for row in rows:
        stored = {name: value for name, value in row.items() if name != "config"}
        write_split(root, "lmms-eval/TempCompass", "test", [stored], row["config"])
    videos = {f"videos/{row['video_id']}.mp4": clip(row["video_id"]) for row in rows}
    write_zip(folder / "tempcompass_videos.zip", videos)
    return rows


def build_egoschema_mirror(root: Path) -> Rows:
    """`lmms-eval/egoschema`: the subset with answers, and all questions without."""
    folder = root / "lmms-eval" / "egoschema"
    rows: Rows = [
        {
            "question_idx": str(number),
            "question": f"What is C's aim in clip {number}?",
            "video_idx": f"0074f737-11cb-497d-8d07-77c3a8127391{number}",
            "option": [f"{letter}. C does {letter.lower()}." for letter in "ABCDE"],
            "answer": str((3 * number + 3) % 5),
        }
        for number in range(2)
    ]
    write_split(root, "lmms-eval/egoschema", "test", rows, "Subset")
    hidden = [{**row, "answer": None} for row in rows]
    for config in ("GENERATION", "MC", "MC_PPL"):
        write_split(root, "lmms-eval/egoschema", "test", hidden, config)
    suffixes = ("mp4", "MP4")
    for number, row in enumerate(rows):
        member = f"videos/{row['video_idx']}.{suffixes[number]}"
        write_zip(folder / f"videos_chunked_{number + 1:02}.zip", {member: clip(row["video_idx"])})
    return rows


def build_nextqa_mirror(root: Path) -> Rows:
    """`lmms-eval/NExTQA`, configuration MC: a question of each type."""
    folder = root / "lmms-eval" / "NExTQA"
    rows: Rows = [
        {
            "video": 4010069381 + number // 3,
            "frame_count": 369,
            "width": 640,
            "height": 480,
            "question": f"why did number {kind} move ",
            "answer": number % 5,
            "qid": number,
            "type": kind,
            **{f"a{place}": f"reason {place} " for place in range(5)},
        }
        for number, kind in enumerate(("CW", "CH", "TN", "TC", "TP", "DC", "DL", "DO"))
    ]
    write_split(root, "lmms-eval/NExTQA", "test", rows, "MC")
    names = sorted({str(row["video"]) for row in rows})
    write_zip(folder / "videos.zip", {f"NExTVideo/{name}.mp4": clip(name) for name in names})
    return rows


def build_perceptiontest_mirror(root: Path) -> Rows:
    """`lmms-eval/PerceptionTest_Val`: three options, the answer by its place."""
    folder = root / "lmms-eval" / "PerceptionTest_Val"
    rows: Rows = [
        {
            "video_name": f"video_{number // 2}",
            "question": f"Is the camera moving in {number}?",
            "question_id": str(number),
            "options": ["yes", "no", "I don't know"],
            "answer_id": str(number),
            "area": ("physics", "semantics", "abstraction")[number],
            "reasoning": ("descriptive", "explanatory", "predictive")[number],
            "tag": [["motion"], ["camera", "motion"], []][number],
        }
        for number in range(3)
    ]
    write_split(root, "lmms-eval/PerceptionTest_Val", "validation", rows, "mc_question_val")
    for number, name in enumerate(("video_0", "video_1"), start=1):
        write_zip(folder / f"videos_chunked_{number:02}.zip", {f"videos/{name}.mp4": clip(name)})
    return rows


def build_video_mirrors(root: Path) -> None:
    """Everything that the video tasks read, but MVBench and Video-MME."""
    build_star_mirror(root)
    build_mlvu_mirror(root)
    build_mlvu_mirror(root, "MLVU_Test")
    build_lvbench_mirror(root)
    build_charades_sta_mirror(root)
    build_longvideobench_mirror(root)
    build_tempcompass_mirror(root)
    build_egoschema_mirror(root)
    build_nextqa_mirror(root)
    build_perceptiontest_mirror(root)
