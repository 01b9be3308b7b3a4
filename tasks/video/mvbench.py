"""MVBench: twenty tasks that one frame can't answer, prompted as in Qwen's evaluation.

The videos come from eleven older data sets, one zip archive each, below ``video/``. Five tasks ask
about a clip of a video; one of them holds its clips as folders of frames, three a second.
"""

from collections.abc import Mapping
from typing import Any

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.video_choice import letter_of, watch_closely
from evalkit.core.columns import OPTIONS, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Row, Task, text, video

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


task = Task(
    name="mvbench",
    category="video",
    title="MVBench",
    paper_row="MVBench",
    dataset=repository(),
    prompt=lambda row: (
        video(**clip(row)),
        text(watch_closely(row["question"], options(row))),
    ),
    reference=lambda row: letter_of(row["answer"], row["candidates"], first=True),
    # The repository has no ids.
    id=lambda row: f"{row['config']}-{row['row_number']}",
    cluster=lambda row: f"{FOLDERS[row['config']]}/{row['video']}",
    groups={"task": lambda row: row["config"]},
    meta=lambda row: {"question": row["question"], "options": options(row)},
    metric=MultipleChoice(),
    max_new_tokens=16,
    size=4000,
    licence="MIT (annotations); videos under the terms of the eleven data sets that they come from",
    citation="Li et al., MVBench: A Comprehensive Multi-modal Video Understanding Benchmark, CVPR 2024 "
    "(arXiv:2311.17005)",
    notes="200 questions in each of 20 tasks, so the mean over questions is the mean over tasks. Clips are "
    "cut to their start and end. The videos of `fine_grained_pose` (NTU RGB+D) must be asked for elsewhere "
    "and be put into `video/nturgbd/`; without them 200 samples are errors.",
    lmms_eval_notes="`mvbench` leaves empty answers out of the denominator and reads the article in `a "
    "person opens the door` as option A. Ours counts both wrong.",
    example={
        "config": "moving_direction",
        "row_number": 0,
        "video": "video_10000.mp4",
        "question": "Which way does the red cube move?",
        "candidates": ["Up and to the left.", "Down and to the right.", "It does not move."],
        "answer": "Down and to the right.",
        "path": "video_10000.mp4",
    },
)
