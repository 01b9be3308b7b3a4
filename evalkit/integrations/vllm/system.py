"""A checkpoint with a variant on vLLM, before it is loaded and after."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.types import FixedPart, MediaRef
from evalkit.inference.counters import EngineCounters
from evalkit.integrations.vllm.client import VllmEnvironment, VllmProcess, environment_of, python_of
from evalkit.integrations.vllm.decoder import VllmDecoder, VllmLink
from evalkit.integrations.vllm.media import PlacedMedium
from evalkit.integrations.vllm.plugin import DENSE, EXPERTS
from evalkit.models.base import LoadConfig, Model, ModelInfo, Preprocessor, fingerprint_of
from evalkit.models.hf_model import HfModelInfo
from evalkit.models.loading import describe_model
from evalkit.rope.hf.install import model_defaults
from evalkit.rope.positions import PositionDesign
from evalkit.rope.serving import unservable
from evalkit.rope.variant import RopeVariant

PLUGIN = 1
"""Raised when answers may come out otherwise with the same vLLM."""

_OWN_ENGINE = ("compile", "matrix products", "device", "attention", "device map", "batching")
"""What our own engine's answers depend on, and vLLM's don't."""

CPU_CACHE_BYTES = 1 << 30
"""KV cache of vLLM on a processor, unless `--engine-args kv_cache_memory_bytes=N` says otherwise."""

BLANK_SIDE = 4096
"""Side in pixels of the picture that vLLM measures its memory with; the preprocessor makes it as large as it
allows.
"""


def describe(name: str, rope: str, load_config: LoadConfig) -> VllmModelInfo:
    """What :func:`~evalkit.models.loading.describe_model` says of a model, for vLLM.

    Raises:
        UsageError: no such model, or vLLM can't answer as it is trained: which, and why.
        EnvironmentProblem: there is no vLLM that can be used.
    """
    if name.partition(":")[0] == "mock":
        raise UsageError(f"`--engine vllm` with `{name}`", "a mock has no weights to load", "leave one out")
    environment = environment_of(python_of(load_config.vllm_python))
    visible = _visible(load_config, environment)
    dtype = load_config.dtype
    if dtype == "auto":
        dtype = "float32" if environment.device == "cpu" else "bfloat16"
    plain = replace(
        load_config, dtype=dtype, device="cpu", device_map=None, compiled=False, batching=(), engine="evalkit"
    )
    info = describe_model(name, rope, plain)
    if not isinstance(info, HfModelInfo):
        raise UsageError(f"`--engine vllm` with `{name}`", "it is no transformers model", "leave one out")
    found = VllmModelInfo(
        info=info,
        environment=environment,
        engine_args=_engine_args(load_config, visible),
        visible=visible,
        rope_files=tuple((file.path, file.content) for file in load_config.rope_files),
        draws=load_config.draws,
    )
    found.refuse()
    return found


def _visible(load_config: LoadConfig, environment: VllmEnvironment) -> tuple[str, ...] | None:
    """The GPUs that vLLM is to see, as ``CUDA_VISIBLE_DEVICES`` has them; None leaves that as it is."""
    kind, _, number = load_config.device.partition(":")
    if kind not in ("auto", environment.device):
        raise EnvironmentProblem(
            f"`--device {load_config.device}` with vLLM {environment.vllm}",
            f"the vLLM of `{environment.python}` is built for {environment.device}",
            "give another `--vllm-python`, or leave `--device` out",
        )
    here = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [each.strip() for each in here.split(",")] if here is not None else None
    if number:
        place = int(number)
        return (names[place] if names is not None and place < len(names) else number,)
    return None if names is None else tuple(names)


def _engine_args(load_config: LoadConfig, visible: Sequence[str] | None) -> Mapping[str, Any]:
    """The user's engine arguments; an engine's GPUs share every layer unless these say otherwise."""
    given = dict(load_config.engine_args)
    if load_config.device_map and visible is not None:
        given.setdefault("tensor_parallel_size", len(visible))
    return given


@dataclass(frozen=True, kw_only=True, eq=False)
class VllmModelInfo:
    """A checkpoint on vLLM: a :class:`~evalkit.models.base.ModelInfo`; ``info`` is it on our own engine, and
    ``draws`` says whether tokens may be drawn.
    """

    info: HfModelInfo
    environment: VllmEnvironment
    engine_args: Mapping[str, Any]
    visible: tuple[str, ...] | None
    rope_files: tuple[tuple[str, bytes], ...] = ()
    draws: bool = False

    @property
    def name(self) -> str:
        """See :class:`evalkit.models.base.ModelInfo`, as all that follow."""
        return self.info.name

    @property
    def family(self) -> str:
        return self.info.family

    @property
    def variant(self) -> RopeVariant:
        return self.info.variant

    @property
    def box_space(self) -> str:
        return self.info.box_space

    @property
    def identity(self) -> Mapping[str, str]:
        kept = {key: value for key, value in self.info.identity.items() if key not in _OWN_ENGINE}
        here = self.environment
        return kept | {
            "engine": f"vllm {here.vllm} (evalkit's plug-in {PLUGIN})",
            "engine arguments": json.dumps({**self.defaults, **self.engine_args}, sort_keys=True),
            "torch": here.torch,
            "transformers": here.transformers,
            "device": here.gpu or here.device,
        }

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.identity)

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.info.notes, f"answered by vLLM {self.environment.vllm} on {self.environment.device}")

    @property
    def trained_with(self) -> str | None:
        return self.info.trained_with

    @property
    def revision(self) -> str | None:
        return self.info.revision

    @property
    def files(self) -> tuple[Path, ...]:
        return (*self.info.files, *map(Path, self.environment.records))

    @property
    def preprocessor(self) -> Preprocessor:
        return self.info.preprocessor

    @property
    def bytes(self) -> int:
        return self.info.bytes

    @property
    def compile_seconds(self) -> float:
        return 0.0

    def render(self, parts: Sequence[FixedPart]) -> str:
        return self.info.render(parts)

    @property
    def defaults(self) -> dict[str, Any]:
        """Engine arguments unless the user gives others: on a processor nothing is compiled or measured."""
        if self.environment.device != "cpu":
            return {}
        here = {"enforce_eager": True, "skip_mm_profiling": True, "kv_cache_memory_bytes": CPU_CACHE_BYTES}
        return here if self._in_one_process else {**here, "distributed_executor_backend": "mp"}

    @property
    def _in_one_process(self) -> bool:
        """Whether vLLM starts no processes of its own, which on a processor only take time to start."""
        return self.environment.device == "cpu" and self.engine_args.get("tensor_parallel_size", 1) == 1

    @cached_property
    def designs(self) -> tuple[PositionDesign, ...]:
        """The position designs of the layer groups, with what the model decides filled in."""
        return self._resolved.position.layer_groups(self._layers)[0]

    @property
    def _resolved(self) -> RopeVariant:
        return self.variant.with_defaults(**model_defaults(self.info.processor.config))

    @property
    def _layers(self) -> int:
        return int(self.info.processor.config.get_text_config().num_hidden_layers)

    def refuse(self) -> None:
        """Refuse what would be answered otherwise than the model is trained.

        Raises:
            UsageError: names the variant or the checkpoint, and the reason.
        """
        if self.info.read.adapter is not None:
            raise UsageError(
                f"`--engine vllm` with the adapter `{self.name}`",
                "vLLM loads whole weights from a folder",
                "merge it first (peft's `merge_and_unload`, then `save_pretrained`)",
            )
        why = unservable(self._resolved, self._layers)
        if why is not None:
            raise UsageError(
                f"`--engine vllm` with the RoPE variant `{self.variant}`",
                f"{why}; its answers would silently be wrong",
                "use evalkit's own engine for it (leave `--engine` out): it runs every variant",
            )
        self._refuse_parallel()

    def _refuse_parallel(self) -> None:
        config = self.info.processor.config.get_text_config()
        heads, ranks = config.num_key_value_heads, self.engine_args.get("tensor_parallel_size", 1)
        if isinstance(ranks, int) and ranks > 1 and heads % ranks and ranks % heads:
            raise UsageError(
                f"`tensor_parallel_size={ranks}` with `{self.name}`",
                f"its {heads} key-value heads can't be spread over {ranks} GPUs evenly",
                "give a divisor or a multiple of that number",
            )

    def load(self) -> VllmModel:
        """See :class:`evalkit.models.base.ModelInfo`.

        Raises:
            UsageError: vLLM doesn't take an engine argument.
            EnvironmentProblem: it can't load the model.
        """
        surroundings = {"VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING")}
        if self._in_one_process:
            surroundings["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        if self.draws:  # the other runner of models has logits processors of another kind
            surroundings["VLLM_USE_V2_MODEL_RUNNER"] = "0"
        if self.visible is not None:
            surroundings["CUDA_VISIBLE_DEVICES"] = ",".join(self.visible)
        process = VllmProcess.start(self.environment.python, surroundings)
        try:
            ready = process.load(self._start())
        except BaseException:
            process.end()
            raise
        if self.info.read.state() != self.info.state:
            process.end()
            raise EnvironmentProblem(
                f"checkpoint `{self.info.folder}` changed while it was loaded",
                "its answers would go by the hash of what was there before",
                "repeat the command when whatever writes it is done",
            )
        return VllmModel(self, VllmLink(process), int(ready["kv_tokens"]))

    def _start(self) -> dict[str, Any]:
        """The first message."""
        tokens = self.info.generation_tokens
        return {
            "model": str(self.info.folder),
            "dtype": str(self.info.dtype).removeprefix("torch."),
            "stop": sorted(tokens.stop_token_ids),
            "draws": self.draws,
            "tokenizer": self.info.processor.tokenizer_file,
            "control": sorted(self.info.detokenizer().control),
            "engine_args": dict(self.engine_args),
            "defaults": self.defaults,
            "config": self._config(),
        }

    def _config(self) -> dict[str, Any]:
        """What is changed in the model's configuration, for vLLM and for our class in it."""
        config = self.info.processor.config
        own = dict(getattr(config.get_text_config(), "rope_parameters", None) or {})
        axes = sum(len(design.axes) for design in self.designs)
        counted: dict[str, Any] = {}
        section = own.get("mrope_section")
        if section is None:  # vLLM counts axes by it, and has no fewer than three
            counted = {"mrope_section": [1] * max(3, axes)}
        elif axes > max(3, len(section)):
            more = [*section, *[0] * (axes - len(section))]
            counted = {"text_config": {"rope_parameters": {**own, "mrope_section": more}}}
        normalise = self.info.processor.normalise
        given = {
            "family": self.family,
            "variant": str(self.variant),
            "rope_files": [[path, content.decode("latin-1")] for path, content in self.rope_files],
            "own_rope": own if "text_config" in counted else None,
            "kinds": list(normalise),
            "normalise": {kind: [each.mean, each.std, each.levels] for kind, each in normalise.items()},
            "banned": list(self.info.generation_tokens.banned_token_ids),
            "visual_tokens": self.info.preprocessor.visual_tokens,
            "blank": self._blank(),
        }
        experts = getattr(config.get_text_config(), "num_experts", None)
        return {"architectures": [EXPERTS if experts else DENSE], "evalkit": given, **counted}

    def _blank(self) -> dict[str, Any]:
        """The largest picture that the preprocessor makes, without its pixels."""
        from PIL import Image

        buffer = BytesIO()
        # On a processor nothing is measured with it.
        side = BLANK_SIDE if self.environment.device != "cpu" else BLANK_SIDE // 8
        Image.new("RGB", (side, side)).save(buffer, "PNG")
        ref = MediaRef("image", data=buffer.getvalue())
        vision = self.info.preprocessor.process_image(ref, [ref]).vision
        size = sum(t * h * w for t, h, w in vision.blocks)
        medium = PlacedMedium(vision, np.arange(size), 0).describe()
        return {"shape": list(vision.patches.shape), "tokens": size, "medium": medium}


@dataclass(frozen=True, eq=False)
class VllmModel:
    """A model that is loaded in a vLLM process: a :class:`~evalkit.models.base.Model`; ``kv_tokens`` fit into
    its KV cache.
    """

    info: VllmModelInfo
    link: VllmLink
    kv_tokens: int

    def fits_beside(self, other: ModelInfo) -> bool:
        """See :class:`evalkit.models.base.Model`: vLLM takes all of a GPU's memory."""
        return False

    def share_weights_with(self, first: Model) -> None:
        """See :class:`evalkit.models.base.Model`."""

    def device_problem(self) -> None:
        """Return nothing: vLLM's own process looks after its devices, and dies with them."""

    def token_budget(self, models: int) -> int | None:
        """See :class:`evalkit.models.base.Model`: more than fit at a time, so that vLLM always has a next."""
        return 2 * self.kv_tokens or None

    def decoder(
        self,
        stats: EngineCounters | None = None,
        *,
        uncached_vision: bool = False,
        graphs: bool = True,
        deterministic: bool = False,
    ) -> VllmDecoder:
        """See :class:`evalkit.models.base.Model`; caches and graphs are vLLM's own."""
        return VllmDecoder(
            link=self.link,
            generation_tokens=self.info.info.generation_tokens,
            designs=self.info.designs,
            text=self.info.info.detokenizer(),
            stats=stats or EngineCounters(),
        )

    def forget(self) -> None:
        """Empty vLLM's caches of prompts and media, for a measurement; nothing may be running."""
        self.link.process.send({"op": "forget"})

    def close(self) -> None:
        """End the process."""
        self.link.process.end()
