"""A family under test: its tiny checkpoint, and prompts with media for evalkit and for transformers."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from evalkit.core.types import MediaRef, Prepared, Request, Text
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.models.base import LoadConfig
from evalkit.models.conformance.checkpoint import END, PAD, TinyCheckpoint
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.families.registry import FAMILIES, adapter_of
from evalkit.models.hf_model import HfModel
from evalkit.models.loading import describe_model
from evalkit.models.processor_reference import film, our_pixels, picture, pixel_names, processor_inputs
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant

NEW_TOKENS = 8

MORE_VARIANTS = (
    "circlerope(age=odd)",
    "hope(temporal_stride=0.75)",
    "mrope-i(scaling=yarn(8))",
    "position=diagonal,frequency=heads,scaling=ntk(4)",
    "position=circle(age=second_half),frequency=heads",
    "omni-rope(text=copy,scaling=per_axis)",
)
"""Compositions and parameters that take other ways through the code than the named variants."""

FEW_VARIANTS = ("mrope-i", "mhrope", "circlerope(age=odd)")
"""One with a rotation for all heads and layers, one for each head, one for each layer."""


def tiny_of(family: str) -> TinyCheckpoint:
    """What a family's ``tiny`` module, beside the adapter's, says."""
    package = FAMILIES[family].module.rpartition(".")[0]
    tiny: TinyCheckpoint = importlib.import_module(f"{package}.tiny").TINY
    return tiny


@dataclass(frozen=True)
class TestPrompt:
    """A prompt as evalkit prepares it, and transformers' arguments for it without ``input_ids``.

    Pixels are evalkit's in both, since the two resize differently by a grey level or two.
    """

    __test__ = False

    name: str
    prepared: Prepared
    arguments: dict[str, Any]

    @property
    def input_ids(self) -> torch.Tensor:
        """``[1, length]``."""
        return torch.from_numpy(self.prepared.input_ids)[None]

    def followed_by(self, count: int) -> dict[str, Any]:
        """The arguments for a call with ``count`` more tokens of text."""
        types = self.arguments.get("mm_token_type_ids")
        if types is None:
            return self.arguments
        return self.arguments | {"mm_token_type_ids": torch.nn.functional.pad(types, (0, count))}


@dataclass(frozen=True)
class TestedFamily:
    """A family and its tiny checkpoint, saved in ``folder``."""

    __test__ = False

    name: str
    folder: Path

    @cached_property
    def adapter(self) -> FamilyAdapter:
        """The family's adapter."""
        return adapter_of(self.name)

    @cached_property
    def tiny(self) -> TinyCheckpoint:
        """See :func:`tiny_of`."""
        return tiny_of(self.name)

    @cached_property
    def checkpoint(self) -> Path:
        """The folder, with a complete checkpoint in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.tiny.save(self.folder, self.adapter.model_class)

    @cached_property
    def model(self) -> HfModel:
        """The checkpoint, loaded as a run loads it, in float32 on the CPU."""
        limits = LoadConfig(dtype="float32", device="cpu", max_frames=4)
        model = describe_model(str(self.checkpoint), load_config=limits).load()
        assert isinstance(model, HfModel)
        return model

    def with_variant(self, text: str) -> HfModel:
        """The model with a variant installed; there is one module, so the last one counts."""
        return replace(self.model, installed=install(self.model.module, parse_variant(text)))

    @cached_property
    def prompts(self) -> list[TestPrompt]:
        """Prompts with all kinds of media that the family takes, and one without."""
        first, second = picture(self.folder, (112, 84)), picture(self.folder, (56, 140), shift=20)
        parts: dict[str, list[MediaRef | Text]] = {
            "an image": [first, Text("What is it?")],
            "two images": [second, Text("or"), first, Text("?")],
            "text only": [Text("Why is the sky blue?")],
        }
        if "video" in self.adapter.placeholders:
            clip = film(self.folder, (84, 56), frames=5)
            parts |= {
                "a video": [clip, Text("What happens?")],
                "two videos": [clip, Text("then"), clip, Text("?")],
            }
        if self.adapter.mixes_kinds and "video" in self.adapter.placeholders:
            parts |= {
                "an image and a video": [Text("First"), first, Text("then"), clip],
                "a mix": [clip, Text("a"), second, first, Text("b"), clip, Text("c?")],
            }
        return [self.prompt(name, each) for name, each in parts.items()]

    def prompt(self, name: str, parts: Sequence[MediaRef | Text]) -> TestPrompt:
        """A prompt of these parts, prepared and as transformers takes it."""
        info = self.model.info
        media = tuple(part for part in parts if isinstance(part, MediaRef))
        chat = info.render(parts)
        prepared = info.preprocessor.prepare(
            Request(
                key=name, task="test", sample_id=name, prompt=chat, media=media, max_new_tokens=NEW_TOKENS
            )
        )
        theirs = processor_inputs(info.processor, media, prepared, chat)
        return TestPrompt(name, prepared, self._arguments(theirs, prepared))

    def _arguments(self, theirs: dict[str, Any], mine: Prepared) -> dict[str, Any]:
        arguments = {key: each for key, each in theirs.items() if key not in ("input_ids", "attention_mask")}
        if "mm_token_type_ids" in arguments:
            arguments["mm_token_type_ids"] = torch.from_numpy(mine.token_types.astype("int32"))[None]
        if "second_per_grid_ts" in arguments:
            seconds = [each.seconds_per_grid for each in mine.vision if each.kind == "video"]
            arguments["second_per_grid_ts"] = torch.tensor(seconds)
        for name in dict.fromkeys(pixel_names(theirs, each.kind) for each in mine.vision):
            shown = [each for each in mine.vision if pixel_names(theirs, each.kind) == name]
            arguments[name] = our_pixels(self.model.info.processor, shown).reshape(theirs[name].shape)
        return arguments

    def answers(self, model: HfModel, prompts: Sequence[TestPrompt]) -> list[list[int]]:
        """Tokens that evalkit's engine generates for prompts in one batch."""
        groups = [PrefixGroup((each.prepared,), each.prepared.prefix) for each in prompts]
        found = {item.key: list(each.token_ids) for item, each in generate_all(model.decoder(), groups)}
        return [found[each.name] for each in prompts]

    @torch.inference_mode()
    def recomputed(self, prompt: TestPrompt, answer: Sequence[int]) -> list[int]:
        """The likeliest token after the prompt and after each beginning of an answer, in one call without a
        cache: no token sees what comes after it.
        """
        ids = torch.cat([prompt.input_ids, torch.tensor([answer], dtype=torch.long)], dim=1)
        logits = self.model.module(input_ids=ids, **prompt.followed_by(len(answer)), use_cache=False).logits
        after = logits[0, prompt.prepared.length - 1 :]
        banned = torch.tensor(self.model.info.generation_tokens.banned_token_ids)
        tokens: list[int] = after.index_fill(1, banned, -torch.inf).argmax(1).tolist()
        return tokens

    def generated(self, prompt: TestPrompt) -> list[int]:
        """Tokens that transformers' ``generate`` gives, end tokens aside."""
        tokens = self.model.info.generation_tokens
        output = self.model.module.generate(
            input_ids=prompt.input_ids,
            **prompt.arguments,
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=sorted(tokens.stop_token_ids),
            pad_token_id=PAD,
            suppress_tokens=list(tokens.banned_token_ids),
        )
        found: list[int] = output[0, prompt.prepared.length :].tolist()
        return [token for token in found if token not in (END, *tokens.stop_token_ids)]
