"""``evalkit models check``: what a checkpoint folder is read as, compared with what transformers reads.

Nothing is hashed, and no weights are read: the untouched model that positions are compared with has none.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from evalkit.core.errors import UsageError
from evalkit.core.types import MediaKind, MediaRef, Prepared, Request, Text
from evalkit.inference.sequence import segments_of
from evalkit.models.base import LoadConfig
from evalkit.models.checkpoints.folder_kind import describe_folder
from evalkit.models.checkpoints.source import Source
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.families.registry import adapter_of
from evalkit.models.generation_config import generation_note
from evalkit.models.hf_model import OpenedCheckpoint, open_checkpoint
from evalkit.models.loading import find_model
from evalkit.models.processor import quietly
from evalkit.models.processor_reference import film, our_pixels, picture, pixel_names, processor_inputs
from evalkit.models.weights import class_of
from evalkit.rope.hf.install import model_defaults
from evalkit.rope.positions import position_ids
from evalkit.rope.variants import RopeVariant, parse_variant

LEVELS_APART = 8.0
"""Grey levels (of 255) by which Pillow's and torchvision's bicubic may differ at an edge."""

MEAN_APART = 1.0

SIZE = (640, 480)
FRAMES = 8


@dataclass(frozen=True)
class Finding:
    """One comparison: ``known`` is a difference that is meant, and explained in ``detail``."""

    what: str
    outcome: Literal["equal", "known", "different"]
    detail: str = ""


@dataclass(frozen=True)
class CheckReport:
    """What there is to say about a checkpoint; ``facts`` by heading, ``prompts`` as they are tokenized."""

    facts: Mapping[str, str]
    prompts: Mapping[str, str]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs that shouldn't."""
        return all(each.outcome != "different" for each in self.findings)


def check_checkpoint(name: str, rope: str = "auto", load_config: LoadConfig | None = None) -> CheckReport:
    """Read a checkpoint as a run does, and compare prompts, pixels and positions with transformers' own.

    Raises:
        UsageError: no such checkpoint, family or variant.
        EnvironmentProblem: it can't be used; the message says why.
    """
    family, source, variant = find_model(name, rope, load_config)
    if source is None:
        raise UsageError(f"model `{name}`", "a mock has no folder", "give the folder of a checkpoint")
    load_config = load_config or LoadConfig()
    adapter = adapter_of(family)
    opened = open_checkpoint(adapter, source, load_config)
    prompts: dict[str, str] = {}
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="evalkit-") as folder, quietly():
        for kind in adapter.placeholders:
            place = Path(folder)
            ref = picture(place, SIZE) if kind == "image" else film(place, SIZE, FRAMES)
            chat = opened.processor.render([ref, Text("What is shown?")], adapter.family, adapter.locate)
            asked = Request(
                key="check", task="check", sample_id=ref.kind, prompt=chat, media=(ref,), max_new_tokens=1
            )
            mine = opened.preprocessor.prepare(asked)
            prompts[ref.kind] = _spelled(mine, opened)
            findings += [_chat(opened, ref, chat), *_inputs(opened, ref, mine, chat)]
            findings.append(_positions(adapter, opened, ref.kind, mine))
    return CheckReport(_facts(adapter, opened, source, variant), prompts, tuple(findings))


def _facts(
    adapter: FamilyAdapter, opened: OpenedCheckpoint, source: Source, variant: RopeVariant
) -> dict[str, str]:
    preprocessor = {
        name: value for name, value in asdict(opened.preprocessor).items() if name != "tokenizer_file"
    }
    frames = preprocessor.pop("frames")
    tokens = opened.processor.tokenizer.convert_ids_to_tokens
    origin = "config.json" if source.rope else "the family's native one; config.json names none"
    files = {
        name: ", ".join(path.name for path in group) for name, group in opened.read.groups.items() if group
    }
    sources = {f"{kind} from": name for kind, name in opened.processor.sources.items()}
    normalise = opened.processor.normalise
    note = adapter.note and adapter.note(opened.processor)
    return {
        "folder": describe_folder(source.adapter or source.folder).sentence,
        "family": adapter.family.summary,
        "class": adapter.model_class,
        "RoPE variant": f"{variant} ({origin})",
        **files,
        **sources,
        "preprocessing": ", ".join(f"{name}={_short(value)}" for name, value in preprocessor.items()),
        "normalisation": "; ".join(f"{kind}: {_short(asdict(rule))}" for kind, rule in normalise.items()),
        "frames of a video": f"{_short(frames)}: evalkit's protocol, whatever the checkpoint says",
        "an answer ends at": ", ".join(
            f"{tokens(each)} ({each})" for each in sorted(opened.generation_tokens.stop_token_ids)
        ),
        "never generated": ", ".join(
            f"{tokens(each)} ({each})" for each in opened.generation_tokens.banned_token_ids
        )
        or "-",
        "boxes": adapter.family.box_space,
        "generation": generation_note(opened.read) or "decoding is greedy; nothing is ignored",
        "note": "; ".join(filter(None, (note, *opened.read.notes))) or "-",
    }


def _chat(opened: OpenedCheckpoint, ref: MediaRef, chat: str) -> Finding:
    """The rendered chat against that of transformers' processor (or tokenizer, if that has the template)."""
    own = opened.processor.own
    holder = own if own.chat_template else own.tokenizer
    content = [{"type": ref.kind}, {"type": "text", "text": "What is shown?"}]
    theirs = holder.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return _finding(f"chat of {_an(ref.kind)}", chat == theirs, f"{chat!r} instead of {theirs!r}")


def _inputs(opened: OpenedCheckpoint, ref: MediaRef, mine: Prepared, chat: str) -> Iterator[Finding]:
    """Token ids and pixels against those of transformers' processor."""
    theirs = processor_inputs(opened.processor, [ref], mine, chat)
    ids = theirs["input_ids"][0].tolist()
    kept = _without_outer_tokens(ids, opened) if ref.kind == "video" else ids
    found = mine.input_ids.tolist()
    what = f"token ids of {_an(ref.kind)}"
    if found == kept != ids:
        yield Finding(
            what, "known", "transformers writes a second start and end token around a video's frames"
        )
    else:
        yield _finding(what, found == ids, _first_difference(found, ids))
    yield _pixels(opened, ref.kind, mine, theirs)


def _without_outer_tokens(ids: list[int], opened: OpenedCheckpoint) -> list[int]:
    """Without the start token before a video's first timestamp, and the end token after its last frame: since
    version 5 transformers keeps both, and the models with timestamps were trained without them.
    """
    start, end, pad = (
        getattr(opened.config, name, None)
        for name in ("vision_start_token_id", "vision_end_token_id", "video_token_id")
    )
    if start not in ids or ids[ids.index(start) + 1] == pad:
        return ids
    last = max(place for place, token in enumerate(ids) if token == end)
    return [token for place, token in enumerate(ids) if place not in (ids.index(start), last)]


def _pixels(opened: OpenedCheckpoint, kind: MediaKind, mine: Prepared, theirs: Mapping[str, Any]) -> Finding:
    other = torch.as_tensor(theirs[pixel_names(theirs, kind)])
    ours = our_pixels(opened.processor, mine.vision)
    what = f"pixels of {_an(kind)}"
    if other.numel() != ours.numel():
        return Finding(what, "different", f"{tuple(ours.shape)} instead of {tuple(other.shape)}")
    scale = torch.tensor(opened.processor.normalise[kind].std).view(1, 3, 1) * 255
    apart = (ours - other.reshape(ours.shape)).view(len(ours), 3, -1).abs() * scale
    detail = f"{apart.mean():.2f} of 255 grey levels apart in the mean, {apart.max():.1f} at most (resizing)"
    same = bool(apart.mean() < MEAN_APART and apart.max() < LEVELS_APART)
    return Finding(what, "equal" if same else "different", detail)


def _positions(adapter: FamilyAdapter, opened: OpenedCheckpoint, kind: MediaKind, mine: Prepared) -> Finding:
    """Positions of the family's native variant against those of the untouched model."""
    native = parse_variant(adapter.family.native_rope).with_defaults(**model_defaults(opened.config))
    ours = position_ids(native.position, segments_of(mine)).ids
    theirs = _untouched_positions(adapter, opened, kind, mine)
    what = f"positions of {_an(kind)}"
    if np.array_equal(ours, theirs):
        return Finding(what, "equal", f"{adapter.family.native_rope} and the untouched model")
    after = mine.prefix
    apart = {*(ours - theirs)[:, after:].ravel().tolist()}
    wrong_after_videos = kind == "video" and adapter.text_after_video_differs
    if wrong_after_videos and np.array_equal(ours[:, :after], theirs[:, :after]) and len(apart) == 1:
        moved = f"{apart.pop():+g} for text after a video: transformers' own is wrong (docs/ropes.md)"
        return Finding(what, "known", moved)
    place = int(np.argwhere((ours != theirs).any(axis=0))[0, 0])
    return Finding(
        what,
        "different",
        f"token {place} sits at {ours[:, place].tolist()} instead of {theirs[:, place].tolist()}",
    )


def _untouched_positions(
    adapter: FamilyAdapter, opened: OpenedCheckpoint, kind: MediaKind, mine: Prepared
) -> Any:
    ids = torch.from_numpy(mine.input_ids)[None]
    with torch.device("meta"):
        model = class_of(adapter.model_class)(opened.config)
    number = getattr(model.model, "get_rope_index", None)
    if number is None:  # a language model with one axis: it counts the tokens
        return np.broadcast_to(np.arange(mine.length), (3, mine.length))
    (shown,) = mine.vision
    grid = torch.tensor([shown.grid])
    told = {
        "mm_token_type_ids": torch.from_numpy(mine.token_types.astype(np.int32))[None],
        f"{kind}_grid_thw": grid,
        "attention_mask": torch.ones_like(ids),
    }
    if shown.seconds_per_grid is not None:
        told["second_per_grid_ts"] = torch.tensor([shown.seconds_per_grid])
    known = inspect.signature(number).parameters
    found, _ = number(ids, **{name: value for name, value in told.items() if name in known})
    return found[:, 0].numpy()


def _spelled(mine: Prepared, opened: OpenedCheckpoint) -> str:
    """A prompt, its number of tokens, and its token ids with runs of one token written as ``id x count``."""
    visual = int(np.count_nonzero(mine.token_types))
    ids = mine.input_ids.tolist()
    bounds = [0, *(place for place in range(1, len(ids)) if ids[place] != ids[place - 1]), len(ids)]
    runs = [(ids[a], b - a) for a, b in pairwise(bounds)]
    written = " ".join(
        f"{token} x {count}" if count > 3 else " ".join([str(token)] * count) for token, count in runs
    )
    return f"{mine.prompt}\n{visual} visual tokens and {mine.length - visual} others:\n{written}"


def _finding(what: str, same: bool, detail: str) -> Finding:
    return Finding(what, "equal" if same else "different", "" if same else detail)


def _first_difference(mine: Sequence[int], theirs: Sequence[int]) -> str:
    pairs = enumerate(zip(mine, theirs, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(mine), len(theirs)))
    return f"{len(mine)} tokens instead of {len(theirs)}; they differ from token {place} on"


def _an(kind: MediaKind) -> str:
    return "an image" if kind == "image" else "a video"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={_short(each)}" for name, each in value.items())
    if isinstance(value, tuple) and len(value) > 6:
        return f"{len(value)} values"
    return f"{value:g}" if isinstance(value, float) else str(value)
