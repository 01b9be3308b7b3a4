"""Exact answers on scenes that no training sees, by kind of question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from evalkit.zoo.scenes import SCENES, Scene, generator
from tools.zoo_training.answers import exact_answers
from tools.zoo_training.batches import MIX, TOLD_MIX, Collator, Mix, TrainingBatch

SCENES_PER_TASK = 60


def held_out_accuracy(
    collator: Collator, logits: Callable[[TrainingBatch], Tensor], *, told: bool = False
) -> Mapping[str, float]:
    """Percent of questions answered exactly, teacher-forced, by ``task/kind``.

    Args:
        collator: of the variant.
        logits: of the answer tokens of a batch.
        told: pictures are told in words.
    """
    mix = TOLD_MIX if told else MIX
    found: dict[str, list[bool]] = {}
    for task, scenes, length, noise in held_out_scenes(mix):
        batch = collator.collate(scenes, noise, mix.questions, length, told=told)
        exact = exact_answers(logits(batch), batch)
        for kind, right in zip(batch.kinds, exact, strict=True):
            found.setdefault(f"{task}/{kind}", []).append(right)
    return percentages(found)


def held_out_scenes(mix: Mix = MIX) -> Iterator[tuple[str, list[Scene], int, np.random.Generator]]:
    """Task, some of its scenes, the tokens that each is padded to, and what chooses noisy copies."""
    for task, make in SCENES.items():
        scenes = [make(generator("held out", task, number)) for number in range(SCENES_PER_TASK)]
        length, size = (mix.clip_length, 6) if task == "mini_video" else (mix.image_length, 10)
        for begin in range(0, len(scenes), size):
            yield task, scenes[begin : begin + size], length, np.random.default_rng(begin)


def percentages(found: Mapping[str, Sequence[bool]]) -> dict[str, float]:
    """Percent of right answers for each kind, sorted."""
    return {name: 100 * sum(right) / len(right) for name, right in sorted(found.items())}
