"""Real charts and real films through preprocessor, batches and model: every batch size answers alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_qwen import save_checkpoint

from evalkit.core.types import MediaRef, Part, Request, Response, Text
from evalkit.engine.optimizations import Optimizations
from evalkit.engine.scheduler import run_requests
from evalkit.inference.normalisation import normalised
from evalkit.models import load_model
from evalkit.models.base import Model


def requests(model: Model, shared: Path) -> list[Request]:
    charts = sorted((shared / "media" / "chartqa").rglob("*.png"))[:3]
    films = sorted((shared / "media" / "videos").rglob("*.mp4"))[:2]
    assert charts
    assert films
    prompts: list[list[Part]] = [[Text("What is two and two?")], [Text("Why is the sky blue at noon?")]]
    prompts += [[MediaRef("image", path=str(path)), Text("What is the highest value?")] for path in charts]
    prompts += [[MediaRef("video", path=str(path)), Text("What happens?")] for path in films]
    prompts += [[MediaRef("video", path=str(films[0])), Text(text)] for text in ("Who is it?", "Where?")]
    prompts.append(
        [MediaRef("image", path=str(charts[0])), MediaRef("video", path=str(films[0])), Text("Is it shown?")]
    )
    return [
        Request(
            key=str(place),
            task="task",
            sample_id=str(place),
            prompt=model.info.render(parts),
            media=tuple(part for part in parts if isinstance(part, MediaRef)),
            max_new_tokens=8,
        )
        for place, parts in enumerate(prompts)
    ]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("ckpt"))


@pytest.fixture(scope="module")
def shown() -> dict[tuple[MediaRef, ...], Any]:
    """What the preprocessor makes of media, whatever the variant and the batch: each is read once."""
    return {}


# All variants: test_optimizations.py, with synthetic media.
@pytest.mark.parametrize("variant", ["vanilla", "v2pe", "mrope-i", "mhrope"])
def test_batches_of_one_four_and_by_tokens_answer_alike(
    variant: str,
    checkpoint: Path,
    shared: Path,
    shown: dict[tuple[MediaRef, ...], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load_model(str(checkpoint), rope=variant, device="cpu")
    kind: Any = type(model.info.preprocessor)
    own = kind.process_media

    def read_once(preprocessor: Any, media: Sequence[MediaRef]) -> Any:
        if tuple(media) not in shown:
            shown[tuple(media)] = own(preprocessor, media)
        return shown[tuple(media)]

    monkeypatch.setattr(kind, "process_media", read_once)
    asked = requests(model, shared)
    found: list[dict[str, tuple[int, ...]]] = []
    for size, without in ((1, "all"), (4, "prefix"), (4, "packing"), (None, "continuous"), (None, "")):
        enabled = Optimizations.without(*filter(None, [without]))
        responses: list[Response] = []
        run_requests(
            model, asked, on_batch=responses.extend, workers=0, batch_size=size, optimizations=enabled
        )
        assert [each.error for each in responses] == [None] * len(asked)
        found.append({each.key: each.token_ids for each in responses})
    assert all(each == found[0] for each in found[1:])


def test_pixels_are_those_of_transformers(checkpoint: Path, tmp_path: Path) -> None:
    from transformers import Qwen2VLImageProcessor

    pixels = np.random.default_rng(0).integers(0, 256, (56, 84, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    theirs = Qwen2VLImageProcessor(min_pixels=4 * 28 * 28, max_pixels=64 * 28 * 28)(
        images=[Image.fromarray(pixels)], return_tensors="pt"
    )
    model = load_model(str(checkpoint), device="cpu")
    ref = MediaRef("image", path=str(tmp_path / "a.png"))
    prepared = model.info.preprocessor.prepare(
        Request(
            key="k", task="t", sample_id="s", prompt=model.info.render([ref]), media=(ref,), max_new_tokens=1
        )
    )
    (shown,) = prepared.vision
    ours = normalised([(shown, shown.patches)], model.info.processor.normalise, torch.device("cpu"))
    torch.testing.assert_close(ours, theirs["pixel_values"].reshape(ours.shape), rtol=0, atol=1e-6)
    assert torch.equal(torch.tensor([shown.grid]), theirs["image_grid_thw"])
