"""What vLLM finds in the entry-point group ``vllm.general_plugins``, and loads in each of its processes."""

from __future__ import annotations

DENSE, EXPERTS = "EvalkitForCausalLM", "EvalkitMoEForCausalLM"
DRAWN_TOKENS = "evalkit.integrations.vllm.model:DrawnTokens"
"""The logits processor that draws tokens, as vLLM names classes."""


def register() -> None:
    """Tell vLLM of our classes; they are imported when a model of ours is loaded."""
    from vllm import ModelRegistry

    for name in (DENSE, EXPERTS):
        if name not in ModelRegistry.get_supported_archs():
            ModelRegistry.register_model(name, f"evalkit.integrations.vllm.model:{name}")
