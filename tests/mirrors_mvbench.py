"""A local mirror of `OpenGVLab/MVBench`: JSON rows, a zip archive for each source, drawn clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mirrors import write_card, write_split
from mirrors_video import Rows, clip, frames, write_zip

# MVBench: where each task's videos come from, the archive that holds them, and how rows name them.
MVBENCH = {
    "action_sequence": ("star.zip", "star/Charades_v1_480", "ZS9XR.mp4", (0.5, 2.5)),
    "action_prediction": ("star.zip", "star/Charades_v1_480", "ZS9XR.mp4", (1.0, 3.0)),
    "action_antonym": ("ssv2_video.zip", "ssv2_video", "166583.webm", None),
    "fine_grained_action": ("Moments_in_Time_Raw.zip", "Moments_in_Time_Raw/videos", "yt-a_1.mp4", None),
    "unexpected_action": ("FunQA_test.zip", "FunQA_test/test", "test_magic/M_KT_1.mp4", None),
    "object_existence": ("clevrer.zip", "clevrer/video_validation", "video_10009.mp4", None),
    "object_interaction": ("data0613.zip", "data0613/star/Charades_v1_480", "2NXFV.mp4", (0.0, 1.5)),
    "object_shuffle": ("perception.zip", "perception/videos", "video_1.mp4", None),
    "moving_direction": ("clevrer.zip", "clevrer/video_validation", "video_10009.mp4", None),
    "action_localization": ("sta.zip", "sta/sta_video", "R8FVJ.mp4", (0.0, 3.0)),
    "scene_transition": ("scene_qa.zip", "scene_qa/video", "Movie_1.mp4", None),
    "action_count": ("perception.zip", "perception/videos", "video_2.mp4", None),
    "moving_count": ("clevrer.zip", "clevrer/video_validation", "video_10010.mp4", None),
    "moving_attribute": ("clevrer.zip", "clevrer/video_validation", "video_10010.mp4", None),
    "state_change": ("perception.zip", "perception/videos", "video_3.mp4", None),
    "fine_grained_pose": (None, "nturgbd", "S1.mp4", None),
    "character_order": ("perception.zip", "perception/videos", "video_4.mp4", None),
    "egocentric_navigation": ("vlnqa.zip", "vlnqa", "a_1.mp4", None),
    "episodic_reasoning": ("tvqa.zip", "tvqa/frames_fps3_hq", "friends_s03e09_seg02_clip_07_ep", (1.0, 3.0)),
    "counterfactual_inference": ("clevrer.zip", "clevrer/video_validation", "video_10009.mp4", None),
}


def build_mvbench_mirror(root: Path) -> Rows:
    """`OpenGVLab/MVBench`: one question in each of the 20 tasks; the videos of one are not there."""
    folder = root / "OpenGVLab" / "MVBench"
    archives: dict[str, dict[str, bytes]] = {}
    everything: Rows = []
    for number, (config, (archive, place, name, bounds)) in enumerate(MVBENCH.items()):
        row: dict[str, Any] = {
            "video": name,
            "question": f"What happens in {config}?",
            "candidates": ["Nothing.", "It moves.", "It moves.", "It stops."],
            "answer": ("Nothing.", "It moves.", "It stops.")[number % 3],
        }
        if bounds:
            row |= {"start": bounds[0], "end": bounds[1]}
        write_split(root, "OpenGVLab/MVBench", "train", [row], config)
        held = frames(f"{place}/{name}") if archive == "tvqa.zip" else {}
        if archive and not held:
            held = {f"{place}/{name}": clip(name, name.rpartition(".")[2])}
        archives.setdefault(archive or "", {}).update(held)
        everything.append({**row, "config": config, "letter": "ABD"[number % 3], "content": held})
    for archive, members in archives.items():
        if archive:
            write_zip(folder / "video" / archive, members)
    write_card(root, "OpenGVLab/MVBench")
    return everything


def add_missing_videos(root: Path) -> None:
    """The videos that have to be got elsewhere."""
    pose = root / "OpenGVLab/MVBench/video/nturgbd" / MVBENCH["fine_grained_pose"][2]
    pose.parent.mkdir()
    pose.write_bytes(clip(pose.name))
