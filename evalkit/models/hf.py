"""Checkpoints through transformers' own classes, with any RoPE variant installed: what families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from evalkit.errors import EnvironmentProblem, UsageError
from evalkit.models.base import Card, Model, Placing, Preprocessor, fingerprint_of
from evalkit.models.checkpoint import CheckpointFiles, read_json
from evalkit.models.compile import compile_parts
from evalkit.models.decoder import HfDecoder
from evalkit.models.detokenize import Detokenizer, control_tokens
from evalkit.models.families import Family
from evalkit.models.features import Encode, same_tower, share_weights
from evalkit.models.generation import DecodingRules
from evalkit.models.graphs import cuda_graph
from evalkit.models.greedy import decoding_rules, generation_note
from evalkit.models.identity import identity_of
from evalkit.models.memory import devices_of, free_bytes, token_budget
from evalkit.models.preprocess import ChatPreprocessor, neutralise, tokenizer_file
from evalkit.models.source import Source
from evalkit.models.vision import KEPT_BYTES, Vision
from evalkit.models.weights import load_weights
from evalkit.rope.install import Installed, install
from evalkit.rope.variants import RopeVariant
from evalkit.stats import Stats
from evalkit.types import FixedPart, Locate, MediaKind, MediaRef, Text


@dataclass(frozen=True)
class Adapter:
    """What sets a family apart.

    Attributes:
        family: its row in :data:`~evalkit.models.families.FAMILIES`.
        model_class: name of the transformers class.
        placeholders: what an image and a video become in the rendered chat.
        locate: wording of a referring expression, with ``{}`` for the phrase.
        preprocessor: reads the settings of a checkpoint folder and of its processor's.
        encode: features of media, as the language model takes them.
    """

    family: Family
    model_class: str
    placeholders: Mapping[MediaKind, str]
    locate: str
    preprocessor: Callable[[Path, Path], ChatPreprocessor]
    encode: Encode


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def describe(adapter: Adapter, source: Source, name: str, variant: RopeVariant, where: Placing) -> HfCard:
    """What there is to know of a checkpoint without its weights; see
    :func:`evalkit.models.describe_model`.

    Raises:
        UsageError: unknown dtype or device name.
        EnvironmentProblem: the device or a file of the checkpoint is missing or unreadable.
    """
    device = _device(where.device)
    dtype = _dtype(where.dtype, device)
    read = source.files()
    state = read.state()
    preprocessor = adapter.preprocessor(read.folder, read.pixels).showing(
        where.max_frames, where.visual_tokens
    )
    preprocessor = replace(preprocessor, tokenizer_file=tokenizer_file(read.text))
    tokenizer = _tokenizer(adapter, read.text)
    rules = decoding_rules(read, tokenizer)
    merged = source.adapter and f"the adapter `{source.adapter.name}` is merged into `{source.base}`"
    return HfCard(
        adapter=adapter,
        read=read,
        state=state,
        name=name,
        variant=variant,
        device=device,
        dtype=dtype,
        device_map=where.device_map,
        compiled=where.compiled,
        identity=identity_of(read, preprocessor, str(tokenizer.chat_template), rules, dtype, device, where),
        notes=tuple(each for each in (merged, generation_note(read), *read.notes) if each),
        revision=source.revision,
        rules=rules,
        tokenizer=tokenizer,
        preprocessor=preprocessor,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class HfCard:
    """A checkpoint, without its weights, behind the door of :class:`~evalkit.models.base.Card`."""

    adapter: Adapter
    read: CheckpointFiles
    state: tuple[object, ...]
    name: str
    variant: RopeVariant
    device: torch.device
    dtype: torch.dtype
    device_map: str | None
    compiled: bool
    identity: Mapping[str, str]
    notes: tuple[str, ...]
    revision: str | None
    rules: DecodingRules
    tokenizer: Any
    preprocessor: Preprocessor
    compile_seconds: float = 0.0

    @property
    def folder(self) -> Path:
        """Where its configuration and weights lie."""
        return self.read.folder

    @property
    def files(self) -> tuple[Path, ...]:
        """See :class:`evalkit.models.base.Card`."""
        return self.read.all

    @property
    def fingerprint(self) -> str:
        """See :class:`evalkit.models.base.Card`."""
        return fingerprint_of(self.identity)

    @property
    def family(self) -> str:
        """Name of the family."""
        return self.adapter.family.name

    @property
    def box_space(self) -> str:
        """See :class:`evalkit.models.base.Card`."""
        return self.adapter.family.box_space

    @property
    def bytes(self) -> int:
        """See :class:`evalkit.models.base.Card`; the dtype of the files is taken to be no wider."""
        return sum(path.stat().st_size for path in self.read.weights) * (
            2 if self.dtype == torch.float32 else 1
        )

    def render(self, parts: Sequence[FixedPart]) -> str:
        """One user turn through the checkpoint's own chat template."""
        return render(self.tokenizer, parts, self.family, self.adapter.locate)

    def load(self) -> HfModel:
        """Load the weights and install the variant.

        Raises:
            UsageError: the variant doesn't fit the model.
            EnvironmentProblem: the weights are damaged, changed meanwhile, or don't fit into memory.
        """
        module = load_weights(self.adapter.model_class, self.read, self.dtype, self.device, self.device_map)
        if self.read.state() != self.state:
            raise EnvironmentProblem(
                f"checkpoint `{self.folder}` changed while it was loaded",
                "its answers would go by the hash of what was there before",
                "repeat the command when whatever writes it is done",
            )
        _check_attention(module, self.name)
        try:
            installed = install(module, self.variant)
        except ValueError as error:
            raise UsageError(
                f"RoPE variant `{self.variant}` can't be installed into `{self.name}`",
                str(error),
                "choose another variant or checkpoint",
            ) from None
        spent = {"compile_seconds": compile_parts(module) if self.compiled else 0.0}
        return HfModel(**vars(self) | spent, module=module, installed=installed)


@dataclass(frozen=True, kw_only=True, eq=False)
class HfModel(HfCard):
    """A checkpoint behind the door of :class:`~evalkit.models.base.Model`.

    ``module`` is the transformers model, for those who want to look inside.
    """

    module: Any
    installed: Installed

    @property
    def card(self) -> HfCard:
        """See :class:`evalkit.models.base.Model`."""
        return HfCard(**{each.name: getattr(self, each.name) for each in fields(HfCard)})

    @cached_property
    def vision(self) -> Vision:
        """Its vision tower, with what it saw last."""
        return Vision(self.module, self.adapter.encode, self.rules)

    def has_room_for(self, other: Card) -> bool:
        """See :class:`evalkit.models.base.Model`."""
        return 2 * other.bytes <= sum(map(free_bytes, devices_of(self.module)))

    def join(self, first: Model) -> None:
        """See :class:`evalkit.models.base.Model`."""
        if not isinstance(first, HfModel):
            return
        share_weights(self.module, first.module)
        same_pixels = (self.rules.mean, self.rules.std) == (first.rules.mean, first.rules.std)
        if same_pixels and same_tower(self.module, first.module):
            circle = [*(first.vision.circle or [first.vision]), self.vision]
            for vision in circle:
                vision.circle = circle

    def token_budget(self, models: int) -> int:
        """See :class:`evalkit.models.base.Model`."""
        return token_budget(self.module, models, KEPT_BYTES)

    def decoder(
        self, stats: Stats | None = None, *, one_by_one: bool = False, graphs: bool = True
    ) -> HfDecoder:
        """See :class:`evalkit.models.base.Model`."""
        recorded = graphs and [each.type for each in devices_of(self.module)] == ["cuda"]
        return HfDecoder(
            self.module,
            self.installed,
            self.vision,
            self.rules,
            self.detokenize,
            stats or Stats(),
            one_by_one,
            cuda_graph if recorded else None,
        )

    @cached_property
    def detokenize(self) -> Detokenizer:
        """The text of generated tokens."""
        chat = _probe(self.tokenizer, self.adapter)
        return Detokenizer(self.tokenizer, control_tokens(self.tokenizer, chat, self.rules.stop))


def render(tokenizer: Any, parts: Sequence[FixedPart], family: str, locate: str) -> str:
    """One user turn as chat text, with one placeholder per medium.

    Special tokens in the question's own text are broken up, so that they stay text.
    """
    specials = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    content = [_content(part, specials, family, locate) for part in parts]
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return text


def _content(part: FixedPart, specials: Sequence[str], family: str, locate: str) -> dict[str, str]:
    if isinstance(part, MediaRef):
        return {"type": part.kind}
    # The wording itself may have special tokens of the family; the phrase may not.
    if isinstance(part, Locate):
        return {"type": "text", "text": locate.format(neutralise(part.phrase, specials))}
    return {"type": "text", "text": neutralise(part.wording(family), specials)}


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"device `{name}`", "there is no such device", "use auto, cpu, cuda or cuda:N"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EnvironmentProblem(
            f"device `{name}` is not here",
            f"torch sees {torch.cuda.device_count()} CUDA devices",
            "use `--device cpu`, or install a GPU build of torch",
        )
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise UsageError(f"dtype `{name}`", "there is no such dtype", f"use auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def _check_attention(model: Any, name: str) -> None:
    """The engine's own attention lets every token see all before it."""
    if "sliding_attention" in (getattr(model.config.get_text_config(), "layer_types", None) or ()):
        raise UsageError(
            f"model `{name}` attends within a sliding window",
            "its config says `use_sliding_window: true`, which evalkit's engine does not do",
            "set it to false if the model was trained so (as all published checkpoints of its family are)",
        )


def _tokenizer(adapter: Adapter, folder: Path) -> Any:
    """The checkpoint's tokenizer, whose chat template is checked to name every medium once."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - its readers raise anything on damaged files
        raise EnvironmentProblem(
            f"the tokenizer of `{folder}` can't be loaded",
            next(iter(str(error).splitlines()), "") or type(error).__name__,
            "copy tokenizer.json and tokenizer_config.json of the base model into the folder",
        ) from None
    # The processor's, which transformers takes first: the tokenizer's own may know of no media.
    if (folder / "chat_template.json").is_file():
        tokenizer.chat_template = read_json(folder / "chat_template.json").get("chat_template")
    if tokenizer.chat_template is None:
        raise EnvironmentProblem(
            f"the tokenizer of `{folder}` has no chat template",
            "prompts can't be written the way the model was trained on",
            "copy tokenizer_config.json (or chat_template.json) of the base model into the folder",
        )
    probe = _probe(tokenizer, adapter)
    if any(probe.count(placeholder) != 1 for placeholder in adapter.placeholders.values()):
        raise EnvironmentProblem(
            f"the chat template of `{folder}` is not that of the family `{adapter.family.name}`",
            ", ".join(f"an {kind} must become {text}" for kind, text in adapter.placeholders.items()),
            "use the base model's chat template",
        )
    return tokenizer


def _probe(tokenizer: Any, adapter: Adapter) -> str:
    """A chat with both kinds of media."""
    parts: list[FixedPart] = [MediaRef("image", path="i"), Text("?"), MediaRef("video", path="v")]
    return render(tokenizer, parts, adapter.family.name, adapter.locate)
