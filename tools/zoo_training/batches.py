"""Training batches: scenes with several questions each, as one packed sequence a scene.

The questions about one picture share its visual tokens. Every question starts at the position that
follows the picture and attends to the picture and to itself only, so each is computed exactly as if
it stood alone, at half the cost (a test compares the logits).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from evalkit.rope.layout import segments_from_types
from evalkit.rope.positions import SequencePositions, position_ids
from evalkit.rope.variants import RopeVariant
from evalkit.zoo.scenes import PRACTICE, SCENES, Scene, SceneQuestion, generator
from evalkit.zoo.token_grids import TokenGrid
from tools.zoo_training import prompts
from tools.zoo_training.tower import NOISY_COPIES

READING_STEPS = 1500
"""Until this step every answer token counts alike, so reading aloud dominates; then every question
does, with the practice worth as much as the ``QUESTIONS`` others."""

READING_MIX = (("mini_docvqa", 5), ("mini_chartqa", 4), ("mini_refcoco", 4), ("mini_video", 3))
MIX = (("mini_docvqa", 4), ("mini_chartqa", 4), ("mini_refcoco", 4), ("mini_video", 4))
"""Scenes of each task in a step, before and after ``READING_STEPS``."""

QUESTIONS = 4
"""At most this many questions of a scene are asked in a step."""

IGNORED = -100


@dataclass(frozen=True)
class TrainingBatch:
    """Tensors of one step; ``B`` scenes, ``L`` tokens.

    ``ids`` [B, L]; ``cells`` [B, L], the cell kind and noisy copy at a visual token, else -1;
    ``positions`` [3, B, L]; ``mask`` bool [B, 1, L, L], True where a token may look;
    ``labels`` [B, L], the next token where it belongs to an answer, else ``IGNORED``;
    ``weights`` [B, L], one over the length of the token's answer (times ``QUESTIONS`` for practice).
    """

    ids: Tensor
    cells: Tensor
    positions: Tensor
    mask: Tensor
    labels: Tensor
    weights: Tensor


@lru_cache(maxsize=256)
def _prefix_positions(
    variant: RopeVariant, before: int, grid: tuple[int, int, int], video: bool
) -> SequencePositions:
    """Positions of the text before a picture and of the picture, and where text goes on."""
    tokens = int(np.prod(grid))
    types = [0] * before + [2 if video else 1] * tokens
    patches = (grid[0], 2 * grid[1], 2 * grid[2])
    return position_ids(variant.position, segments_from_types(types, [patches], 2))


def grid_thw(token_grid: TokenGrid) -> tuple[int, int, int]:
    """Visual tokens of a token grid along time, height and width."""
    time, height, width = token_grid.shape if token_grid.ndim == 3 else (1, *token_grid.shape)
    return time, height, width


def _asked(scene: Scene, questions: int) -> list[SceneQuestion]:
    practice = [] if scene.practice is None else [scene.practice]
    return [*scene.questions[:questions], *practice]


class Collator:
    """Makes batches of scenes for one variant."""

    def __init__(self, tokenizer: Tokenizer, variant: RopeVariant) -> None:
        self._tokenizer, self._variant = tokenizer, variant
        self._encode = lru_cache(maxsize=65536)(lambda text: tuple(tokenizer.encode(text).ids))

    def _branch(self, question: SceneQuestion, video: bool) -> tuple[list[int], list[int], float]:
        """Token ids from the end of the picture to the end of the answer, labels, and weight."""
        prompt = self._encode(prompts.chat(question, video=video)[1])
        answer = (*self._encode(question.answer), prompts.END)
        ids = [*prompt, *answer[:-1]]
        labels = [IGNORED] * (len(prompt) - 1) + list(answer)
        return ids, labels, (QUESTIONS if question.kind == PRACTICE else 1) / len(answer)

    def collate(
        self, scenes: list[Scene], noise: np.random.Generator, questions: int = QUESTIONS
    ) -> TrainingBatch:
        """Pack scenes of equal dimension (all images, or all clips), right-padded."""
        video = scenes[0].token_grid.ndim == 3
        pad = prompts.VIDEO_PAD if video else prompts.IMAGE_PAD
        before = len(self._encode(prompts.chat(scenes[0].questions[0], video=video)[0])) - 1
        branches = [[self._branch(q, video) for q in _asked(scene, questions)] for scene in scenes]
        starts = [before + scene.token_grid.size for scene in scenes]
        length = max(
            start + sum(len(branch[0]) for branch in group)
            for start, group in zip(starts, branches, strict=True)
        )
        shape = (len(scenes), length)
        ids, labels = np.zeros(shape, np.int64), np.full(shape, IGNORED)
        cells, part = np.full(shape, -1), np.full(shape, -1)
        weights = np.zeros(shape, np.float32)
        positions = np.zeros((3, *shape), np.float32)
        for row, (scene, start, group) in enumerate(zip(scenes, starts, branches, strict=True)):
            lead = self._encode(prompts.chat(scene.questions[0], video=video)[0])[:-1]
            ids[row, :start] = [*lead, *[pad] * scene.token_grid.size]
            copies = noise.integers(0, NOISY_COPIES, scene.token_grid.size)
            cells[row, before:start] = scene.token_grid.ravel() * NOISY_COPIES + copies
            part[row, :start] = 0
            seen = _prefix_positions(self._variant, before, grid_thw(scene.token_grid), video)
            positions[:, row, :start] = seen.ids
            at = start
            for number, (tokens, wanted, weight) in enumerate(group, 1):
                end = at + len(tokens)
                ids[row, at:end], labels[row, at:end], part[row, at:end] = tokens, wanted, number
                steps = np.arange(len(tokens)) * seen.step[:, None]
                positions[:, row, at:end] = seen.next_position[:, None] + steps
                weights[row, at:end] = weight
                at = end
        return TrainingBatch(
            torch.from_numpy(ids),
            torch.from_numpy(cells),
            torch.from_numpy(positions),
            _mask(part),
            torch.from_numpy(labels),
            torch.from_numpy(weights),
        )


def _mask(part: np.ndarray) -> Tensor:
    """The causal mask in which a question (parts 1, 2, ...) sees the picture (part 0) and itself."""
    same = part[:, :, None] == part[:, None, :]
    shared = part[:, None, :] == 0
    causal = np.tril(np.ones((part.shape[1], part.shape[1]), bool))
    return torch.from_numpy((same | shared) & causal)[:, None]


def training_scenes(step: int) -> tuple[list[Scene], list[Scene]]:
    """The images and the clips of one step: a function of the step alone, for every variant."""
    mix = READING_MIX if step < READING_STEPS else MIX
    made = {
        task: [SCENES[task](generator("train", task, step, i)) for i in range(count)] for task, count in mix
    }
    clips = made.pop("mini_video")
    return [scene for scenes in made.values() for scene in scenes], clips
