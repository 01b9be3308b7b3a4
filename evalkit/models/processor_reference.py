"""What transformers' own processor makes of a prompt, and media to compare with: for checks and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evalkit.core.types import MediaKind, MediaRef, Prepared, VisionInput
from evalkit.data.formats import open_image
from evalkit.data.images import Pixels
from evalkit.data.regular_files import open_regular
from evalkit.data.video import open_reader, probe
from evalkit.inference.normalisation import normalised
from evalkit.models.processor import Processor

FRAME_RATE = 2


def processor_inputs(
    processor: Processor, media: Sequence[MediaRef], mine: Prepared, chat: str
) -> dict[str, Any]:
    """Transformers' inputs for a rendered chat; of videos it is given the frames that ours chose."""
    images = [_image(ref) for ref in media if ref.kind == "image"]
    videos = [
        _video(ref, info.frames) for ref, info in zip(media, mine.media, strict=True) if ref.kind == "video"
    ]
    given: dict[str, Any] = {"images": [images]} if images else {}
    if videos:
        given["videos"] = [[frames for frames, _ in videos]]
        given["video_metadata"] = [[metadata for _, metadata in videos]]
        given["videos_kwargs"] = {"do_sample_frames": False}
    return dict(processor.own(text=[chat], return_tensors="pt", **given))


def pixel_names(inputs: Mapping[str, Any], kind: MediaKind) -> str:
    """Under which name transformers passes pixels of a kind; some families have one for both."""
    return "pixel_values_videos" if kind == "video" and "pixel_values_videos" in inputs else "pixel_values"


def our_pixels(processor: Processor, vision: Sequence[VisionInput]) -> torch.Tensor:
    """Normalised pixels as our preprocessing makes them, of all media one after the other."""
    return normalised([(each, each.patches) for each in vision], processor.normalise, torch.device("cpu"))


def picture(folder: Path, size: tuple[int, int], shift: int = 0) -> MediaRef:
    """An image of ``size`` (width, height)."""
    from PIL import Image

    path = folder / f"picture-{size[0]}x{size[1]}-{shift}.png"
    Image.fromarray(_scene(size, shift)).save(path)
    return MediaRef("image", path=str(path))


def film(folder: Path, size: tuple[int, int], frames: int) -> MediaRef:
    """A video of ``size`` (width, height), two frames a second."""
    import av

    path = folder / f"film-{size[0]}x{size[1]}-{frames}.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=FRAME_RATE)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            scene = _scene(size, 8 * number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene, format="rgb24")))
        container.mux(stream.encode())
    return MediaRef("video", path=str(path))


def _scene(size: tuple[int, int], shift: int) -> Pixels:
    """Waves of colour, as smooth as a photograph, ``[H, W, 3]``."""
    x, y = np.meshgrid(np.arange(size[0]) + shift, np.arange(size[1]))
    waves = [np.sin(x / 37) * np.cos(y / 53), np.sin((x + y) / 61), np.cos(x / 29 - y / 41)]
    scene: Pixels = (127.5 + 110 * np.stack(waves, axis=-1)).astype(np.uint8)
    return scene


def _image(ref: MediaRef) -> Any:
    with open_regular(str(ref.path)) as file, open_image(file) as image:
        return image.convert("RGB")


def _video(ref: MediaRef, chosen: Sequence[int]) -> tuple[Any, Any]:
    """Frames ``[T, 3, H, W]`` and what transformers wants to know of them."""
    from transformers.video_utils import VideoMetadata

    known = probe(str(ref.path))
    frames = np.stack(list(open_reader().read(str(ref.path), known, chosen)))
    metadata = VideoMetadata(
        total_num_frames=len(known.timestamps),
        fps=float(FRAME_RATE),
        frames_indices=list(chosen),
        duration=len(known.timestamps) / FRAME_RATE,
    )
    return frames.transpose(0, 3, 1, 2), metadata
