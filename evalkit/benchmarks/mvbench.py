"""MVBench's twenty tasks: which videos each is asked about, and how they are stored.

The videos come from eleven older data sets, one zip archive each, below ``video/``. Five tasks ask
about a clip of a video; one of them holds its clips as folders of frames, three a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.benchmarks.options import lettered
from evalkit.core.columns import OPTIONS, TEXT
from evalkit.data.hub import HubDataset

Row = Mapping[str, Any]

FOLDERS: Mapping[str, str] = {
    "action_sequence": "star/Charades_v1_480",
    "action_prediction": "star/Charades_v1_480",
    "action_antonym": "ssv2_video",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "unexpected_action": "FunQA_test/test",
    "object_existence": "clevrer/video_validation",
    "object_interaction": "star/Charades_v1_480",
    "object_shuffle": "perception/videos",
    "moving_direction": "clevrer/video_validation",
    "action_localization": "sta/sta_video",
    "scene_transition": "scene_qa/video",
    "action_count": "perception/videos",
    "moving_count": "clevrer/video_validation",
    "moving_attribute": "clevrer/video_validation",
    "state_change": "perception/videos",
    "fine_grained_pose": "nturgbd",
    "character_order": "perception/videos",
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/frames_fps3_hq",
    "counterfactual_inference": "clevrer/video_validation",
}
FRAME_FOLDERS = "episodic_reasoning"
FRAME_RATE = 3.0


def repository() -> HubDataset:
    """Twenty configurations of 200 questions. The videos of ``fine_grained_pose`` (NTU RGB+D) are not
    part of the repository: their licence has to be asked for.
    """
    return HubDataset(
        "OpenGVLab/MVBench",
        tuple(FOLDERS),
        split="train",
        columns={"video": TEXT, "question": TEXT, "candidates": OPTIONS, "answer": TEXT},
        archives=("video/*.zip",),
        files={"path": video_paths},
    )


def video_paths(row: Row) -> tuple[str, ...]:
    """Where a row's video may lie: in the first archives, or in the one that completed them."""
    name = f"{FOLDERS[row['config']]}/{{video}}" + ("/" if row["config"] == FRAME_FOLDERS else "")
    return (f"video/{name}", name, f"data0613/{name}", f"video/data0613/{name}")


def clip(row: Row) -> dict[str, Any]:
    """What is shown of the video, as arguments of :func:`evalkit.core.task.video`."""
    rate = FRAME_RATE if row["config"] == FRAME_FOLDERS else None
    return {"path": row["path"], "start": row.get("start"), "end": row.get("end"), "frame_rate": rate}


def options(row: Row) -> dict[str, str]:
    """Options by letter."""
    return lettered(row["candidates"])
