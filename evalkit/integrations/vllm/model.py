"""The class that stands for a model in vLLM: vLLM's wrapper around transformers, with a RoPE variant of ours.

Imported in vLLM's processes only. vLLM's own wrapper asks the model for positions and drops the deepstack
features of Qwen3-VL; here positions come from the variant, and features from the family's encoder, both as in
our own engine.
"""

from __future__ import annotations

import copy
from types import MethodType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.models.transformers import (
    TransformersMultiModalForCausalLM,
    TransformersMultiModalMoEForCausalLM,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from evalkit.inference.normalisation import Normalisation
from evalkit.integrations.vllm.drawing import DrawnRow, draws_in, leave_drawn
from evalkit.integrations.vllm.media import PlacedMedium, segments_with, vision_of
from evalkit.integrations.vllm.processing import (
    DESCRIBED,
    PATCHES,
    DummyInputs,
    Info,
    Processor,
    described_in,
    indices_in,
)
from evalkit.models.families.registry import adapter_of
from evalkit.rope.hf.install import Installed, install_rotation
from evalkit.rope.outside import RopeFile, rope_catalog


class EvalkitModel:
    """What both classes below add to vLLM's. ``config.evalkit`` holds what evalkit gives (``server.py``)."""

    config: Any
    model: Any

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        given = self.config.evalkit
        self._adapter = adapter_of(given["family"])
        self._normalise: Any = {
            kind: Normalisation(tuple(mean), tuple(std), levels)
            for kind, (mean, std, levels) in given["normalise"].items()
        }
        self._banned = torch.tensor(given["banned"], dtype=torch.long, device="cpu")
        self._installed = self._install(given)
        for module in self.model.modules():
            if getattr(module, "use_head", False):  # SigLIP's pooled output, which no family looks at
                module.use_head = False
        self._axes = len(self._installed.position_id_builder.text_steps())
        self._dtype = vllm_config.model_config.dtype
        self._deepstack: list[Tensor] = []
        if levels := len(getattr(self.config.vision_config, "deepstack_visual_indexes", None) or ()):
            self._make_deepstack(levels, vllm_config)

    def _get_tie_word_embeddings(self) -> bool:
        """As transformers decides it: vLLM's own also ties where only the text's configuration says so."""
        return bool(getattr(self.config, "tie_word_embeddings", False))

    def _install(self, given: dict[str, Any]) -> Installed:
        """Install the variant; each process of a tensor-parallel engine rotates the heads that it has."""
        files = tuple(RopeFile(path, content.encode("latin-1")) for path, content in given["rope_files"])
        variant = rope_catalog(files).parse(given["variant"])
        text_model = self.model.language_model
        if given["own_rope"] is not None:  # what the checkpoint says, not what vLLM counts axes by
            text_model.config = copy.copy(text_model.config)
            text_model.config.rope_parameters = given["own_rope"]
        installed = install_rotation(self, variant)  # type: ignore[arg-type]
        rotary = text_model.rotary_emb
        if rotary.axes.ndim == 2:
            ranks, rank = self.tp_group.world_size, self.tp_group.rank_in_group  # type: ignore[attr-defined]
            heads = len(rotary.axes)
            own = max(1, heads // ranks)
            first = rank * heads // ranks
            rotary.axes, rotary.inv_freq = (
                rotary.axes[first : first + own],
                rotary.inv_freq[first : first + own],
            )
        return installed

    def _make_deepstack(self, levels: int, vllm_config: Any) -> None:
        """Room for what is added to the states of visual tokens after the first layers; zero for others."""
        text_model = self.model.language_model
        most, hidden = vllm_config.scheduler_config.max_num_batched_tokens, text_model.config.hidden_size
        device = vllm_config.device_config.device
        self._deepstack = [torch.zeros(most, hidden, dtype=self._dtype, device=device) for _ in range(levels)]
        text_model._deepstack_process = MethodType(_add_everywhere, text_model)

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: list[Any]
    ) -> tuple[Tensor, int]:
        """Positions ``[R, N]`` of a prompt, int64, and what is added to the index of a generated token."""
        media = []
        for each in mm_features:
            described = described_in(each.data[DESCRIBED].data)
            vision = vision_of(described, torch.empty(0, dtype=torch.uint8).numpy())
            media.append(PlacedMedium(vision, indices_in(each.mm_position), described["separators"]))
        length = len(input_tokens)
        found = self._installed.position_batch([segments_with(length, media)], length)
        first = found.next_position[:, 0]
        if found.prompt.is_floating_point() or not bool((first == first[0]).all()):
            raise ValueError("positions that vLLM can't express; evalkit refuses such prompts before")
        positions = found.prompt[1:, 0]
        missing = max(0, self.model_config.mrope_num_dims - len(positions))  # type: ignore[attr-defined]
        return torch.cat([positions, positions[:1].expand(missing, -1)]), int(first[0]) - length

    def embed_multimodal(self, **media: Any) -> list[Tensor]:
        """Features of media ``[n, (1 + levels) * hidden]``: with deepstack, all levels side by side."""
        if not media:
            return []
        pairs = zip(media[PATCHES], media[DESCRIBED], strict=True)
        vision = [vision_of(described_in(text), patches.cpu().numpy()) for patches, text in pairs]
        tower = self.model.get_submodule(self._adapter.vision_tower.removeprefix("model."))
        device = next(tower.parameters()).device
        model = SimpleNamespace(model=self.model, config=self.config, device=device, dtype=self._dtype)
        features = self._adapter.encode(model, vision, self._normalise)
        return [torch.cat([each.tokens, *each.deepstack], dim=-1).to(self._dtype) for each in features]

    def embed_input_ids(
        self,
        input_ids: Tensor,
        multimodal_embeddings: Any = None,
        *,
        is_multimodal: Tensor | None = None,
    ) -> Tensor:
        """Embeddings of a step's tokens; deepstack levels are kept for :meth:`forward`."""
        if not self._deepstack:
            return self._embedded(input_ids, multimodal_embeddings, is_multimodal)
        for level in self._deepstack:
            level[: len(input_ids)] = 0
        if multimodal_embeddings is None or len(multimodal_embeddings) == 0 or is_multimodal is None:
            return self._embedded(input_ids, None, None)
        parts = torch.cat(list(multimodal_embeddings)).chunk(1 + len(self._deepstack), dim=-1)
        places = is_multimodal.to(input_ids.device).nonzero()[:, 0]
        for level, part in zip(self._deepstack, parts[1:], strict=True):
            level[places] = part.to(level)
        return self._embedded(input_ids, [parts[0].contiguous()], is_multimodal)

    def _embedded(self, input_ids: Tensor, found: Any, is_multimodal: Tensor | None) -> Tensor:
        embedded: Tensor = super().embed_input_ids(  # type: ignore[misc]
            input_ids, multimodal_embeddings=found, is_multimodal=is_multimodal
        )
        return embedded

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
        **_: Any,
    ) -> Any:
        """Hidden states of the language model for tokens at ``positions [R, N]``."""
        if intermediate_tensors is not None:
            input_ids, inputs_embeds = None, intermediate_tensors["hidden_states"]
        if inputs_embeds is not None:
            input_ids = None
        given = self._position_ids(positions)
        output = self.model.language_model(
            input_ids=None if input_ids is None else input_ids[None],
            inputs_embeds=None if inputs_embeds is None else inputs_embeds[None],
            position_ids=given,
            use_cache=False,
            return_dict=False,
            **self._deepstack_inputs(given.shape[-1]),
        )
        hidden = output[0][0]
        if not self.pp_group.is_last_rank:  # type: ignore[attr-defined]
            from vllm.sequence import IntermediateTensors

            return IntermediateTensors({"hidden_states": hidden})
        return hidden

    def _position_ids(self, positions: Tensor) -> Tensor:
        """``[R, 1, N]``; with four axes after an index, for which transformers would take the first axis."""
        found = positions[: self._axes] if positions.ndim == 2 else positions.expand(self._axes, -1)
        found = torch.cat([found[:1], found]) if self._axes == 4 else found
        return found[:, None].contiguous()

    def _deepstack_inputs(self, tokens: int) -> dict[str, Any]:
        if not self._deepstack:
            return {}
        return {
            "visual_pos_masks": self._deepstack[0],  # some tensor: every level is added everywhere
            "deepstack_visual_embeds": [level[None, :tokens] for level in self._deepstack],
        }

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Logits without the tokens that are never generated."""
        logits: Tensor | None = super().compute_logits(hidden_states)  # type: ignore[misc]
        if logits is not None and len(self._banned):
            self._banned = self._banned.to(logits.device)
            logits.index_fill_(-1, self._banned, -torch.inf)
        return logits


def _add_everywhere(_: Any, hidden: Tensor, __: Tensor, level: Tensor) -> Tensor:
    """Transformers' own adds to visual tokens only, in a shape that depends on their number."""
    return hidden + level.to(hidden)


_register = MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=DummyInputs)


@_register
class EvalkitForCausalLM(EvalkitModel, TransformersMultiModalForCausalLM):  # type: ignore[misc]
    """A model of any family."""


@_register
class EvalkitMoEForCausalLM(EvalkitModel, TransformersMultiModalMoEForCausalLM):  # type: ignore[misc]
    """A model with experts."""


class DrawnTokens(LogitsProcessor):  # type: ignore[misc]
    """Draws the next token of each request that has ``draws``, before vLLM chooses."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, DrawnRow] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self._rows, batch_update, _drawn_row)

    def apply(self, logits: Tensor) -> Tensor:
        return leave_drawn(logits, self._rows)


def _drawn_row(params: Any, _: Any, token_ids: list[int]) -> DrawnRow | None:
    described = (params.extra_args or {}).get("evalkit_draws")
    return None if described is None else DrawnRow(draws_in(described), token_ids)
