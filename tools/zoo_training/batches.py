"""Training batches: scenes with several questions each, as one packed sequence a scene.

The questions about one picture share its visual tokens. Every question starts at the position that
follows the picture and attends to the picture and to itself only, so each is computed exactly as if
it stood alone, at half the cost (a test compares the logits).
"""

from __future__ import annotations

from collections.abc import Sequence
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

IGNORED = -100
PRACTICE_WEIGHT = 4
"""Of reading a picture aloud, where a question about it weighs 1."""


@dataclass(frozen=True)
class Mix:
    """What a step is made of. Its shapes are always the same, so that they are compiled once.

    ``documents``, ``charts``, ``boxes``, ``clips``: scenes of each. ``questions`` of a scene are asked at
    most, and not more than fit into the tokens that it is padded to, ``image_length`` or ``clip_length``.
    """

    documents: int
    charts: int
    boxes: int
    clips: int
    questions: int
    image_length: int
    clip_length: int


MIX = Mix(documents=3, charts=2, boxes=3, clips=5, questions=3, image_length=92, clip_length=104)
"""Of the training of a variant. Charts are learned first, clips last."""

TOLD_MIX = Mix(documents=4, charts=3, boxes=3, clips=6, questions=4, image_length=76, clip_length=80)
"""Of the common start, where a picture is told in fewer tokens."""


@dataclass(frozen=True)
class TrainingBatch:
    """Tensors of one step; ``B`` scenes, ``L`` tokens.

    ``ids`` [B, L]; ``cells`` [B, L], the cell kind and noisy copy at a visual token, else -1;
    ``positions`` [3, B, L]; ``mask`` bool [B, 1, L, L], True where a token may look;
    ``labels`` [B, L], the next token where it belongs to an answer, else ``IGNORED``;
    ``weights`` [B, L], one over the length of the token's answer (times ``PRACTICE_WEIGHT`` for practice);
    ``part`` [B, L], 0 for the picture, then counting the questions, -1 where padded;
    ``kinds``: what kind of question each is, in order.
    """

    ids: Tensor
    cells: Tensor
    positions: Tensor
    mask: Tensor
    labels: Tensor
    weights: Tensor
    part: Tensor
    kinds: tuple[str, ...]


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


@dataclass(frozen=True)
class PackedScene:
    """One scene with its questions: what :class:`TrainingBatch` holds of it, unpadded and without positions.

    ``lead``: tokens before the picture; ``grid`` and ``video``: of the picture, None if it is told.
    """

    ids: np.ndarray
    cells: np.ndarray
    part: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    kinds: tuple[str, ...]
    lead: int
    grid: tuple[int, int, int] | None
    video: bool


def positions_of(scene: PackedScene, variant: RopeVariant) -> np.ndarray:
    """Positions float32 ``[3, tokens]``: every question goes on where the picture ends."""
    prefix = int((scene.part == 0).sum())
    seen: np.ndarray = np.broadcast_to(np.arange(prefix), (3, prefix))
    begin: np.ndarray = np.full(3, prefix)
    step: np.ndarray = np.ones(3)
    if scene.grid is not None:
        found = _prefix_positions(variant, scene.lead, scene.grid, scene.video)
        seen, begin, step = found.ids, found.next_position, found.step
    lengths = np.bincount(scene.part)[1:]
    along = np.concatenate([np.arange(0), *map(np.arange, lengths)])
    return np.concatenate((seen, begin[:, None] + along * step[:, None]), axis=1).astype(np.float32)


def batch_positions(scenes: Sequence[PackedScene], variant: RopeVariant, length: int) -> Tensor:
    """Positions float32 ``[3, B, L]`` of scenes padded to ``length``."""
    found = np.zeros((3, len(scenes), length), np.float32)
    for number, scene in enumerate(scenes):
        found[:, number, : len(scene.ids)] = positions_of(scene, variant)
    return torch.from_numpy(found)


def batch_of(scenes: Sequence[PackedScene], variant: RopeVariant, length: int) -> TrainingBatch:
    """Scenes right-padded to ``length``, with the positions of a variant."""

    def padded(name: str, fill: float = 0) -> np.ndarray:
        rows: list[np.ndarray] = [getattr(each, name) for each in scenes]
        return np.stack([np.pad(row, (0, length - len(row)), constant_values=fill) for row in rows])

    part = padded("part", -1)
    return TrainingBatch(
        torch.from_numpy(padded("ids")),
        torch.from_numpy(padded("cells", -1)),
        batch_positions(scenes, variant, length),
        attention_mask(torch.from_numpy(part)),
        torch.from_numpy(padded("labels", IGNORED)),
        torch.from_numpy(padded("weights")),
        torch.from_numpy(part),
        tuple(kind for each in scenes for kind in each.kinds),
    )


def _kind(scene: Scene, question: SceneQuestion) -> str:
    """Of a reading: what is read, where a task has two kinds of scenes."""
    scenes_of = {"row": "rows", "column": "columns", "Order": "order", "Motion": "motion"}
    if question.kind != PRACTICE:
        return question.kind
    return " ".join([PRACTICE, scenes_of.get(scene.questions[0].kind, "")]).strip()


def _asked(scene: Scene, questions: int) -> list[SceneQuestion]:
    practice = [] if scene.practice is None else [scene.practice]
    return [*practice, *scene.questions[:questions]]


class Collator:
    """Makes batches of scenes for one variant."""

    def __init__(self, tokenizer: Tokenizer, variant: RopeVariant) -> None:
        self._tokenizer, self.variant = tokenizer, variant
        self._encode = lru_cache(maxsize=65536)(lambda text: tuple(tokenizer.encode(text).ids))

    def collate(
        self,
        scenes: list[Scene],
        noise: np.random.Generator,
        questions: int = MIX.questions,
        length: int = 0,
        *,
        told: bool = False,
    ) -> TrainingBatch:
        """Pack scenes, right-padded.

        Args:
            scenes: all images, or all clips.
            noise: chooses the noisy copy of each cell.
            questions: asked of a scene, at most.
            length: tokens that each scene is padded to; questions that it can't hold are left out. Default:
                those of the longest.
            told: what the picture shows is told in words (its practice answer), in place of visual tokens.
        """
        packed = self.pack(scenes, noise, questions, length, told=told)
        return batch_of(packed, self.variant, length or max(len(each.ids) for each in packed))

    def pack(
        self,
        scenes: list[Scene],
        noise: np.random.Generator,
        questions: int = MIX.questions,
        length: int = 0,
        *,
        told: bool = False,
    ) -> list[PackedScene]:
        """What :meth:`collate` puts together, the same for every variant."""
        return [self._packed(scene, noise, questions, length, told) for scene in scenes]

    def _packed(
        self, scene: Scene, noise: np.random.Generator, questions: int, length: int, told: bool
    ) -> PackedScene:
        video = scene.token_grid.ndim == 3
        asked = scene.questions[:questions] if told else _asked(scene, questions)
        lead = list(self._encode(prompts.chat(scene.questions[0], video=video)[0])[:-1])
        shown, cells = self._picture(scene, noise, told)
        ids = lead + shown
        labels, part, weights = [IGNORED] * len(ids), [0] * len(ids), [0.0] * len(ids)
        kinds: list[str] = []
        for number, question in enumerate(asked, 1):
            tokens, wanted, weight = self._branch(question, video)
            if length and len(ids) + len(tokens) > length:
                break
            ids, labels = ids + tokens, labels + wanted
            part, weights = part + [number] * len(tokens), weights + [weight] * len(tokens)
            kinds.append(_kind(scene, question))
        where = np.full(len(ids), -1)
        where[len(lead) : len(lead) + len(cells)] = cells
        return PackedScene(
            np.array(ids),
            where,
            np.array(part),
            np.array(labels),
            np.array(weights, np.float32),
            tuple(kinds),
            len(lead),
            None if told else grid_thw(scene.token_grid),
            video,
        )

    def _picture(self, scene: Scene, noise: np.random.Generator, told: bool) -> tuple[list[int], np.ndarray]:
        """Ids of a picture's tokens, and what each shows: a cell kind and noisy copy, -1 where it is told."""
        if told:
            if scene.practice is None:
                raise ValueError("a scene without a practice answer can't be told")
            ids = list(self._encode(scene.practice.answer))
            return ids, np.full(len(ids), -1)
        pad = prompts.VIDEO_PAD if scene.token_grid.ndim == 3 else prompts.IMAGE_PAD
        copies = noise.integers(0, NOISY_COPIES, scene.token_grid.size)
        kinds = scene.token_grid.ravel() * NOISY_COPIES + copies
        return [pad] * len(kinds), kinds

    def _branch(self, question: SceneQuestion, video: bool) -> tuple[list[int], list[int], float]:
        """Token ids from the end of the picture to the end of the answer, labels, and weight."""
        prompt = self._encode(prompts.chat(question, video=video)[1])
        answer = (*self._encode(question.answer), prompts.END)
        ids = [*prompt, *answer[:-1]]
        labels = [IGNORED] * (len(prompt) - 1) + list(answer)
        return ids, labels, (PRACTICE_WEIGHT if question.kind == PRACTICE else 1) / len(answer)


def attention_mask(part: Tensor) -> Tensor:
    """Bool ``[B, 1, L, L]`` of parts ``[B, L]``: causal, a question sees the picture (part 0) and itself."""
    same = part[:, :, None] == part[:, None, :]
    shared = part[:, None, :] == 0
    causal = torch.ones(2 * part.shape[1:], dtype=torch.bool, device=part.device).tril()
    return ((same | shared) & causal)[:, None]


def training_batches(
    collator: Collator, seed: int, step: int, mix: Mix = MIX, *, told: bool = False
) -> list[TrainingBatch]:
    """The images and the clips of one step: a function of the seed and the step alone, for every variant."""
    packed = packed_training_scenes(collator, seed, step, mix, told=told)
    lengths = (mix.image_length, mix.clip_length)
    return [
        batch_of(scenes, collator.variant, length) for scenes, length in zip(packed, lengths, strict=True)
    ]


def packed_training_scenes(
    collator: Collator, seed: int, step: int, mix: Mix = MIX, *, told: bool = False
) -> tuple[list[PackedScene], list[PackedScene]]:
    """The scenes of :func:`training_batches`, packed."""
    noise = np.random.default_rng([seed, step])
    images, clips = training_scenes(seed, step, mix)
    return (
        collator.pack(images, noise, mix.questions, mix.image_length, told=told),
        collator.pack(clips, noise, mix.questions, mix.clip_length, told=told),
    )


def training_scenes(seed: int, step: int, mix: Mix = MIX) -> tuple[list[Scene], list[Scene]]:
    """The images and the clips of :func:`training_batches`."""
    counts = (
        ("mini_docvqa", mix.documents),
        ("mini_chartqa", mix.charts),
        ("mini_refcoco", mix.boxes),
        ("mini_video", mix.clips),
    )
    made = [
        [SCENES[task](generator("train", seed, task, step, i)) for i in range(count)]
        for task, count in counts
    ]
    return [scene for scenes in made[:-1] for scene in scenes], made[-1]
