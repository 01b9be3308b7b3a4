"""The mini-suite's data sets: rows in the schemas of the real benchmarks, drawn from seeds.

Images are PNG bytes; clips are H.264 files in evalkit's cache folder, encoded once. The seeds of the training
(:mod:`tools.zoo_training.batches`) are others.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evalkit.core.atomic_files import atomic_path
from evalkit.core.task import Row
from evalkit.data.cache import cache_root, writing
from evalkit.zoo.scenes import LARGER_SCENES, SCENES, Scene, SceneQuestion, generator
from evalkit.zoo.token_grids import TokenGrid, pixels

SEED = 1
VIDEO_FPS = 8
QUESTIONS = 2
"""At most this many questions are asked about one picture."""

_FORMAT = "1"  # in the names of clips' files: raise it when the same seed gives other pixels


@dataclass(frozen=True)
class MiniDataset:
    """``n`` questions of one kind: ``mini_docvqa``, ``mini_chartqa``, ``mini_refcoco``, ``mini_video``, or
    about pages and clips larger than those of any training: ``mini_docvqa_large``, ``mini_video_long``.

    Implements ``task.Dataset``. A row of ``mini_refcoco`` is an object with all its expressions, as
    in ``lmms-lab-encoder/RefCOCO``; ``n`` counts expressions.
    """

    name: str
    n: int = 200
    seed: int = SEED

    def rows(self, data_root: str | None = None) -> Iterator[Row]:
        """Yield the rows; ``data_root`` doesn't matter, since nothing is read."""
        count = 0
        for number in range(self.n):
            scene, picture = _drawn(self.name, self.seed, number)
            for row in _ROWS[self.name](scene, f"{self.name}-{self.seed}-{number}", picture):
                yield row
                count += len(row["answer"]) if self.name == "mini_refcoco" else 1
                if count >= self.n:
                    return

    def sources(self, data_root: str | None) -> Sequence[Path]:
        """No files: rows are drawn."""
        return ()

    def describe(self) -> dict[str, str]:
        """The data set's entry in a manifest."""
        return {"repo": f"evalkit.zoo/{self.name}", "split": "test", "revision": f"seed-{self.seed}"}


@cache  # kilobytes each, drawn once in a process
def _drawn(name: str, seed: int, number: int) -> tuple[Scene, bytes]:
    """A scene, and its picture as PNG bytes (none for a clip)."""
    scene = _SCENES[name](generator("evaluate", name, seed, number))
    return scene, b"" if _ROWS[name] is _clips else png(scene.token_grid)


def png(token_grid: TokenGrid) -> bytes:
    """A token grid as an encoded image."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels(token_grid)).save(buffer, format="PNG")
    return buffer.getvalue()


def encode_clip(token_grid: TokenGrid, path: Path) -> None:
    """Write a clip: every step of the token grid is shown for a second, at ``VIDEO_FPS``."""
    import av

    height, width = pixels(token_grid).shape[1:3]
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # One thread and no code of this processor's own, or the file depends on the machine.
        options = {"crf": "12", "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}
        stream.options = options
        for picture in pixels(token_grid):
            for _ in range(VIDEO_FPS):
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def _clip_file(token_grid: TokenGrid, name: str) -> Path:
    """The clip's file in the cache folder; written beside and moved into place on first use."""
    folder = cache_root() / "mini_video"
    path = folder / f"{name}-v{_FORMAT}.mp4"
    if not path.is_file():
        with writing(folder), atomic_path(path, durable=False) as place:
            encode_clip(token_grid, place)
    return path


def _shape(token_grid: TokenGrid) -> str:
    return "{}x{}".format(*token_grid.shape[-2:])


def _image(picture: bytes, name: str) -> dict[str, Any]:
    return {"bytes": picture, "path": f"{name}.png"}


def _documents(scene: Scene, name: str, picture: bytes) -> Iterator[Row]:
    image = _image(picture, name)
    for number, question in enumerate(scene.questions[:QUESTIONS]):
        yield {
            "questionId": f"{name}-{number}",
            "question": question.text,
            "question_types": [question.kind],
            "image": image,
            "docId": name,
            "ucsf_document_id": name,
            "ucsf_document_page_no": "1",
            "answers": [question.answer],
            "shape": _shape(scene.token_grid),
        }


def _charts(scene: Scene, name: str, picture: bytes) -> Iterator[Row]:
    image = _image(picture, name)
    for number, question in enumerate(scene.questions[:QUESTIONS]):
        yield {
            "row_number": f"{name}-{number}",
            "type": question.kind,
            "question": question.text,
            "answer": question.answer,
            "image": image,
            "shape": _shape(scene.token_grid),
        }


def _objects(scene: Scene, name: str, picture: bytes) -> Iterator[Row]:
    image = _image(picture, name)
    objects: dict[tuple[int, int, int, int], list[SceneQuestion]] = {}
    for question in scene.questions:
        if question.box is not None:
            objects.setdefault(question.box, []).append(question)
    for number, (box, questions) in enumerate(list(objects.items())[:QUESTIONS]):
        x1, y1, x2, y2 = box
        yield {
            "question_id": str(number),
            "image": image,
            "answer": [question.text for question in questions],
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "file_name": f"{name}_{number}.png",
            "kind": questions[0].kind,
            "shape": _shape(scene.token_grid),
        }


def _clips(scene: Scene, name: str, _: bytes) -> Iterator[Row]:
    path = str(_clip_file(scene.token_grid, name))
    for number, question in enumerate(scene.questions[:QUESTIONS]):
        yield {
            "video_id": name,
            "videoID": name,
            "question_id": f"{name}-{number}",
            "duration": scene.label,
            "domain": "Mini-suite",
            "sub_category": _shape(scene.token_grid),
            "task_type": question.kind,
            "question": question.text,
            "options": [f"{letter}. {text}" for letter, text in zip("ABCD", question.options, strict=True)],
            "answer": question.answer,
            "video": path,
        }


_SCENES = MappingProxyType({**SCENES, **LARGER_SCENES})
_ROWS: Mapping[str, Callable[[Scene, str, bytes], Iterator[Row]]] = MappingProxyType(
    {
        "mini_docvqa": _documents,
        "mini_docvqa_large": _documents,
        "mini_chartqa": _charts,
        "mini_refcoco": _objects,
        "mini_video": _clips,
        "mini_video_long": _clips,
    }
)
