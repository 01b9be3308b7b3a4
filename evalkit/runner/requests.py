"""From samples to requests: how one is rendered for a model, and under which key its answer is stored."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import accumulate

from evalkit.config.recipes import Recipe
from evalkit.core.errors import UsageError
from evalkit.core.task import Task
from evalkit.core.types import MediaRef, Part, Request, Sample, Subtitled, Text
from evalkit.engine.media_scan import digest_of
from evalkit.metrics.reasoning import opens_reasoning
from evalkit.models.base import ModelInfo, preprocessor_for
from evalkit.runner.answering import Answering, TaskAnswering

# Part of every key: raise it when the meaning of a request changes without its fields changing.
KEY_VERSION = 2  # 2: special tokens that are an answer's markup are part of its text

ROOM_TO_REASON = 1024
"""New tokens among which reasoning may find its end without a budget of its own."""


def option_letters(sample: Sample) -> tuple[str, ...]:
    """The options' letters of a multiple-choice question that is answered by one of them; else none.

    >>> option_letters(Sample("s", (), "(B)", "c", meta={"options": {"A": "red", "B": "blue"}}))
    ('A', 'B')
    >>> option_letters(Sample("s", (), "7", "c", meta={"options": {"A": "6", "B": "7"}}))
    ()
    """
    options = sample.meta.get("options") or {}
    letters = tuple(options) if isinstance(options, Mapping) else ()
    hidden = sample.reference is None
    if all(len(each) == 1 for each in letters) and (hidden or str(sample.reference).strip("()") in letters):
        return letters
    return ()


def build_request(
    model: ModelInfo,
    task: Task,
    sample: Sample,
    *,
    mc_logits: bool = False,
    answering: TaskAnswering | None = None,
    repetition: int = 0,
) -> Request:
    """Render a sample for a model, and hash everything that can change the answer into the request's key.

    ``mc_logits``: of a multiple-choice question, the answer is the likeliest letter. ``repetition`` counts
    the answers to one question.
    """
    answering = answering or TaskAnswering()
    sampling = answering.sampling
    choices = option_letters(sample) if mc_logits else ()
    media = tuple(part for part in sample.parts if isinstance(part, MediaRef))
    prompt, by_frames = render(model, answering.parts(sample))
    identity = [
        KEY_VERSION,
        model.fingerprint,
        str(model.variant),
        task.name,
        sample.id,
        prompt,
        [[(ref.digest or digest_of(ref)).text, ref.kind, ref.start, ref.end] for ref in media],
        task.max_new_tokens,
        # What is stored beside the answer: a corrected reference must not be scored with the old one.
        [sample.reference, sample.cluster_id, sample.groups, sample.meta],
        *([choices] if choices else []),
        *([["problem", sample.problem]] if sample.problem else []),
        *([[place, asdict(words)] for place, words in by_frames]),
        *([["answering", answering.identity(), repetition]] if answering.identity() else []),
    ]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Request(
        key=key,
        task=task.name,
        sample_id=sample.id,
        prompt=sys.intern(prompt),  # variants of a base ask the same: their many requests hold one text
        media=media,
        max_new_tokens=1 if choices else task.max_new_tokens + (answering.reasoning_tokens or 0),
        choices=choices,
        by_frames=by_frames,
        reasoning_tokens=None if choices else answering.reasoning_tokens,
        repetition=repetition,
        draws=None if sampling is None else sampling.draws(task.name, sample.id, repetition),
        limits=answering.limits,
    )


def build_requests(model: ModelInfo, task: Task, sample: Sample, answering: Answering) -> list[Request]:
    """The requests of a sample: one for each answer to it."""
    own = answering.for_task(task.name)
    mc_logits = answering.spec.mc_logits
    return [
        build_request(model, task, sample, mc_logits=mc_logits, answering=own, repetition=repetition)
        for repetition in range(own.n)
    ]


def check_requests(model: ModelInfo, requests: Sequence[Request], recipe: Recipe) -> Iterator[str]:
    """Refuse limits that the model's family doesn't have; yields what a reader must know beforehand.

    Raises:
        UsageError: such a limit.
    """
    for request in {each.limits: each for each in requests}.values():
        preprocessor_for(model.preprocessor, request)
    if recipe.families and model.family not in (*recipe.families, "mock"):
        made_for = ", ".join(recipe.families)
        yield f"the recipe {recipe.name} was made for {made_for}, and this is a {model.family}"
    tight = {
        each.task: None
        for each in requests
        if each.reasoning_tokens is None
        and 1 < each.max_new_tokens < ROOM_TO_REASON
        and opens_reasoning(each.prompt)
    }
    if tight:
        yield (
            "its prompts open reasoning, which must end within the few tokens of an answer to "
            f"{', '.join(tight)}: give it its own, `--max-reasoning-tokens 16384`"
        )


def render(model: ModelInfo, parts: Sequence[Part]) -> tuple[str, tuple[tuple[int, Subtitled], ...]]:
    """The chat text of one user turn, with one placeholder per medium; and the subtitles to be inserted once
    the frames are chosen, as the model renders them, each with its place in the text.

    Raises:
        UsageError: it depends on the frames of a video, and there is none or more than one.
    """
    waiting = [part for part in parts if isinstance(part, Subtitled)]
    videos = sum(isinstance(part, MediaRef) and part.kind == "video" for part in parts)
    if waiting and videos != 1:
        raise UsageError(
            f"a prompt with subtitles and {videos} videos",
            "they are those on screen in the frames shown of one video",
            "mend the task's `prompt`: one `video(...)` for its subtitles",
        )
    mark = _unused_character(parts)
    fixed = [Text(mark) if isinstance(part, Subtitled) else part for part in parts]
    pieces = model.render(fixed).split(mark)
    places = accumulate(len(piece) for piece in pieces[:-1])
    words = (_render_subtitles(model, part, mark) for part in waiting)
    return "".join(pieces), tuple(zip(places, words, strict=True))


def _render_subtitles(model: ModelInfo, words: Subtitled, mark: str) -> Subtitled:
    """Subtitles as the model renders text, with special tokens broken up; all in one turn, for speed."""
    texts = [words.before, words.after, words.otherwise, *(cue.text for cue in words.cues)]
    _, before, after, otherwise, *lines, _ = model.render([Text(mark.join(["", *texts, ""]))]).split(mark)
    cues = tuple(replace(cue, text=line) for cue, line in zip(words.cues, lines, strict=True))
    return Subtitled(cues, before, after, otherwise)


def _unused_character(parts: Sequence[Part]) -> str:
    """A character that no part has, of those that Unicode reserves for internal use."""
    written = repr(parts)
    return next(chr(code) for code in range(0xFDD0, 0xFDF0) if repr(chr(code))[1:-1] not in written)
