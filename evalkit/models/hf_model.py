"""Models of all families that transformers loads, with any RoPE variant installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.types import FixedPart, MediaRef, Text
from evalkit.inference.compile import compile_parts
from evalkit.inference.counters import EngineCounters
from evalkit.inference.cuda_graphs import cuda_graph
from evalkit.inference.decoder import HfDecoder
from evalkit.inference.memory import device_problem, devices_of, free_bytes, token_budget
from evalkit.inference.stopping import GenerationTokens
from evalkit.inference.vision_encoder import FEATURE_CACHE_BYTES, VisionEncoder
from evalkit.inference.vision_features import has_same_tower, share_weights
from evalkit.models.base import LoadConfig, Model, ModelInfo, fingerprint_of
from evalkit.models.chat_options import ChatOptions, resolved_arguments
from evalkit.models.checkpoints.files import CheckpointFiles
from evalkit.models.checkpoints.source import Source
from evalkit.models.detokenize import Detokenizer, control_tokens
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.generation_config import generation_note, generation_tokens_of, read_configs
from evalkit.models.identity import identity_of
from evalkit.models.preprocess import ChatPreprocessor
from evalkit.models.processor import Processor, load_processor
from evalkit.models.weights import load_weights
from evalkit.rope.hf.install import Installed, install
from evalkit.rope.variants import RopeVariant


@dataclass(frozen=True)
class OpenedCheckpoint:
    """Configuration, processor and preprocessor of a checkpoint; its files are not hashed yet."""

    read: CheckpointFiles
    config: Any
    generation: Any
    processor: Processor
    preprocessor: ChatPreprocessor
    generation_tokens: GenerationTokens


def open_checkpoint(adapter: FamilyAdapter, source: Source, load_config: LoadConfig) -> OpenedCheckpoint:
    """Read a checkpoint's configuration, tokenizer and processor.

    Raises:
        EnvironmentProblem: a file is missing, unreadable, or says what can't be followed.
    """
    read = source.files()
    config, generation = read_configs(read)
    processor = load_processor(read, config, tuple(adapter.placeholders))
    processor.check_template(adapter.family, adapter.locate, adapter.placeholders)
    processor = with_chat(processor, adapter, load_config.chat)
    limited = adapter.preprocessor(processor).with_limits(load_config.max_frames, load_config.visual_tokens)
    preprocessor = limited.with_video_backend(load_config.video_backend)
    generation_tokens = generation_tokens_of(config, generation, processor.tokenizer)
    return OpenedCheckpoint(read, config, generation, processor, preprocessor, generation_tokens)


def with_chat(processor: Processor, adapter: FamilyAdapter, options: ChatOptions) -> Processor:
    """The processor whose template is rendered as the options say.

    Raises:
        UsageError: the template can't do that.
    """
    if options == ChatOptions():
        return processor
    spoken = replace(processor, system_prompt=options.system_prompt)

    def render(arguments: Mapping[str, Any]) -> str:
        return replace(spoken, template_arguments=arguments).render(
            [Text("?")], adapter.family, adapter.locate
        )

    prompt = options.system_prompt
    if prompt is not None and prompt not in render({}):
        raise UsageError(
            "the recipe's system prompt",
            f"the chat template of `{processor.folder}` leaves it out",
            "use a recipe without one, or the chat template that the model was trained with",
        )
    arguments = resolved_arguments(options, processor.template, render)
    return replace(spoken, template_arguments=arguments)


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def describe(
    adapter: FamilyAdapter, source: Source, name: str, variant: RopeVariant, load_config: LoadConfig
) -> HfModelInfo:
    """What there is to know of a checkpoint without its weights; see
    :func:`evalkit.models.describe_model`.

    Raises:
        UsageError: unknown dtype or device name.
        EnvironmentProblem: the device or a file of the checkpoint is missing or unreadable.
    """
    device = _device(load_config.device)
    dtype = _dtype(load_config.dtype, device)
    state = source.files().state()
    found = open_checkpoint(adapter, source, load_config)
    merged = source.adapter and f"the adapter `{source.adapter.name}` is merged into `{source.base}`"
    note = adapter.note and adapter.note(found.processor)
    return HfModelInfo(
        adapter=adapter,
        read=found.read,
        state=state,
        name=name,
        variant=variant,
        device=device,
        dtype=dtype,
        device_map=load_config.device_map,
        compiled=load_config.compiled,
        identity=identity_of(
            found.read,
            found.preprocessor,
            found.processor,
            found.generation_tokens,
            dtype,
            device,
            load_config,
        ),
        notes=tuple(
            each
            for each in (merged, generation_note(found.read, load_config.sampling), note, *found.read.notes)
            if each
        ),
        revision=source.revision(found.read),
        generation_tokens=found.generation_tokens,
        processor=found.processor,
        preprocessor=found.preprocessor,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class HfModelInfo:
    """A checkpoint without its weights, as a :class:`~evalkit.models.base.ModelInfo`."""

    adapter: FamilyAdapter
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
    generation_tokens: GenerationTokens
    processor: Processor
    preprocessor: ChatPreprocessor
    trained_with: str | None = None
    compile_seconds: float = 0.0

    @property
    def folder(self) -> Path:
        """Where its configuration and weights lie."""
        return self.read.folder

    @property
    def files(self) -> tuple[Path, ...]:
        """See :class:`evalkit.models.base.ModelInfo`."""
        return self.read.all

    @property
    def fingerprint(self) -> str:
        """See :class:`evalkit.models.base.ModelInfo`."""
        return fingerprint_of(self.identity)

    @property
    def family(self) -> str:
        """Name of the family."""
        return self.adapter.family.name

    @property
    def box_space(self) -> str:
        """See :class:`evalkit.models.base.ModelInfo`."""
        return self.adapter.family.box_space

    @property
    def bytes(self) -> int:
        """See :class:`evalkit.models.base.ModelInfo`; the dtype of the files is taken to be no wider."""
        return sum(path.stat().st_size for path in self.read.weights) * (
            2 if self.dtype == torch.float32 else 1
        )

    def render(self, parts: Sequence[FixedPart]) -> str:
        """One user turn through the checkpoint's own chat template.

        Raises:
            UsageError: media that the family doesn't take, or not together.
        """
        kinds = {part.kind for part in parts if isinstance(part, MediaRef)}
        if len(kinds) > 1 and not self.adapter.mixes_kinds:
            raise UsageError(
                "a question shows images and videos",
                f"models of the family `{self.family}` take one kind in a prompt: transformers can't tell an "
                "image from a frame there",
                "choose other tasks (`--tasks`), or a model of another family (`evalkit models`)",
            )
        return self.processor.render(parts, self.adapter.family, self.adapter.locate)

    def detokenizer(self) -> Detokenizer:
        """The text of generated tokens."""
        adapter, tokenizer = self.adapter, self.processor.tokenizer
        chat = self.processor.check_template(adapter.family, adapter.locate, adapter.placeholders)
        return Detokenizer(tokenizer, control_tokens(tokenizer, chat, self.generation_tokens.stop_token_ids))

    def load(self) -> HfModel:
        """Load the weights and install the variant.

        Raises:
            UsageError: the variant doesn't fit the model.
            EnvironmentProblem: the weights are damaged, changed meanwhile, or don't fit into memory.
        """
        module = load_weights(
            self.adapter.model_class,
            self.read,
            self.preprocessor.tokenizer_file,
            self.dtype,
            self.device,
            self.device_map,
            pad_modules=self.adapter.pad_modules,
        )
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
        seconds = compile_parts(module, self.adapter.compile_tower) if self.compiled else 0.0
        return HfModel(info=replace(self, compile_seconds=seconds), module=module, installed=installed)


@dataclass(frozen=True, kw_only=True, eq=False)
class HfModel:
    """A loaded transformers model: a :class:`~evalkit.models.base.Model`.

    Attributes:
        info: the checkpoint that it was loaded from.
        module: the transformers model itself.
        installed: the variant inside it.
    """

    info: HfModelInfo
    module: Any
    installed: Installed

    @cached_property
    def vision_encoder(self) -> VisionEncoder:
        """Its vision tower, with the features of the media encoded last."""
        adapter = self.info.adapter
        return VisionEncoder(self.module, adapter.encode, self.info.processor.normalise, adapter.connector)

    def fits_beside(self, other: ModelInfo) -> bool:
        """See :class:`evalkit.models.base.Model`."""
        return 2 * other.bytes <= sum(map(free_bytes, devices_of(self.module)))

    def share_weights_with(self, first: Model) -> None:
        """See :class:`evalkit.models.base.Model`."""
        if not isinstance(first, HfModel):
            return
        share_weights(self.module, first.module)
        if self.vision_encoder.normalise == first.vision_encoder.normalise and has_same_tower(
            self.module,
            first.module,
            vision_tower=self.info.adapter.vision_tower,
            connector=self.info.adapter.connector,
        ):
            shared_with = [*(first.vision_encoder.shared_with or [first.vision_encoder]), self.vision_encoder]
            for vision in shared_with:
                vision.shared_with = shared_with

    def device_problem(self) -> str | None:
        """See :class:`evalkit.models.base.Model`."""
        return device_problem(devices_of(self.module))

    def token_budget(self, models: int) -> int:
        """See :class:`evalkit.models.base.Model`."""
        return token_budget(
            self.module,
            models=models,
            feature_cache_bytes=FEATURE_CACHE_BYTES,
            vision_width=self.info.adapter.vision_width(self.module.config),
        )

    def decoder(
        self,
        stats: EngineCounters | None = None,
        *,
        uncached_vision: bool = False,
        graphs: bool = True,
        deterministic: bool = False,
    ) -> HfDecoder:
        """See :class:`evalkit.models.base.Model`."""
        captured = graphs and [each.type for each in devices_of(self.module)] == ["cuda"]
        return HfDecoder(
            model=self.module,
            installed=self.installed,
            vision_encoder=self.vision_encoder,
            generation_tokens=self.info.generation_tokens,
            text=self.detokenize,
            stats=stats or EngineCounters(),
            uncached_vision=uncached_vision,
            deterministic=deterministic,
            capture=cuda_graph if captured else None,
        )

    @cached_property
    def detokenize(self) -> Detokenizer:
        """The text of generated tokens."""
        return self.info.detokenizer()

    def close(self) -> None:
        """See :class:`evalkit.models.base.Model`: it is freed with its last reference."""


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
    config = model.config.get_text_config()
    if "sliding_attention" not in (getattr(config, "layer_types", None) or ()):
        return
    if getattr(config, "use_sliding_window", False):
        raise UsageError(
            f"model `{name}` attends within a sliding window",
            "its config says `use_sliding_window: true`, which evalkit's engine does not do",
            "set it to false if the model was trained so (as all published checkpoints of its family are)",
        )
    raise UsageError(
        f"model `{name}` attends within a sliding window",
        f"layers of its language model (`{config.model_type}`) do, which evalkit's engine does not",
        "choose a checkpoint around another language model",
    )
