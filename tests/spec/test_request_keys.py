"""Keys of requests are those that earlier versions stored answers under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from evalkit.core.registry import load_task
from evalkit.core.types import Cue, MediaDigest, MediaRef, Part, Sample, Subtitled, Text
from evalkit.runner.requests import build_request


class Model:
    """As much of a model as keys depend on."""

    fingerprint = "0123456789abcdef"
    variant = "mrope"

    def render(self, parts: Sequence[Part]) -> str:
        return "".join(
            f"<{part.kind}>"
            if isinstance(part, MediaRef)
            else getattr(part, "text", getattr(part, "phrase", ""))
            for part in parts
        )


MODEL: Any = Model()
STORED = {
    "mini_docvqa": (
        "de3b2a0c4b20162883c68d3400d82520e18a59367bd579c8083da99c70c13d7a",
        "68539e4c8acb2ef5b4d65a8178e5a6d081424d7588166f17924cfc8731f1f7e8",
    ),
    "mini_refcoco": (
        "d8b6136d85fb444a18807860ef2798484de8b3ec006880d583033d803c248d5c",
        "d4c35cf574798a5a9204727e926c5e7ff4c12a55b531f8dd6129e457e7bdb15e",
    ),
    "mini_video": (
        "b7ffdb6b6bac9455305ed2f5120e68a705f4ab21beff38d1264142f2394bd3ff",
        "011a7efcdf6e57a11fd17133d80d474142515c2eb0e08de80e3adb7bc814f9d3",
    ),
}
BY_LETTERS = (
    "f047433eb89a824dd08b4a8f56d040950ce472c1b0acdba4055101cd89551143",
    "ca586172b480b0510711158cc56e684f24837984b5475f225a3ca98847d21f2c",
)


@pytest.mark.parametrize("name", STORED)
def test_keys_are_as_they_were_stored(name: str) -> None:
    """Taken with the version before `Request.key` left its comparisons (commit 913d8e1)."""
    task = load_task(name)
    samples = list(islice(task.samples(None), 2))
    assert tuple(build_request(MODEL, task, each).key for each in samples) == STORED[name]
    letters = BY_LETTERS if name == "mini_video" else STORED[name]
    assert tuple(build_request(MODEL, task, each, mc_logits=True).key for each in samples) == letters


def subtitled(digest: MediaDigest | None = None) -> Sample:
    words = Subtitled((Cue(0.0, 1.0, "hi"), Cue(1.0, 2.0, "there")), "B:", "A", "none")
    film = MediaRef("video", path="gone.mp4", start=1.0, end=2.5, digest=digest)
    return replace(next(load_task("mini_docvqa").samples(None)), parts=(film, words, Text("Why?")))


def test_keys_of_subtitles_problems_and_missing_files() -> None:
    task = load_task("mini_docvqa")
    for sample, key in (
        (subtitled(), "395d9588150addbaa8ce16b062b9a10036d36a7faee8afb53ec343eead49e586"),
        (subtitled(MediaDigest("d1")), "5799a54a9444f63dd37421e986326629a5b7c4592876816deb10f97933cd4c22"),
        (
            replace(subtitled(), problem="row 3"),
            "9b5cc6db900522d906256e07e46b2af5cadcc36c00ef69b013be3d316285423b",
        ),
    ):
        assert build_request(MODEL, task, sample).key == key


def test_requests_of_two_models_are_equal_without_their_keys() -> None:
    task = load_task("mini_docvqa")
    sample = next(task.samples(None))
    other: Any = Model()
    other.fingerprint = "another"
    one, two = (build_request(model, task, sample) for model in (MODEL, other))
    assert one.key != two.key
    assert one == two
    assert len({one, two}) == 1
