"""vLLM itself, where `make vllm` has made its environment: our own engine's tokens, in float32 on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.integrations.vllm import system
from evalkit.models.base import LoadConfig
from evalkit.models.conformance.tested_family import TestedFamily

ENVIRONMENT = Path(__file__).parents[2] / ".venv-vllm"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ENVIRONMENT / ".ready").exists(), reason="`make vllm` makes the environment"),
]


# The most that one model can show: a rotation for each head, features for several layers, frames between
# timestamps. `docs/engine.md` says what was run beside it.
@pytest.mark.parametrize(("name", "variant"), [("qwen3_vl", "mhrope")])
def test_answers_are_token_identical(name: str, variant: str, tmp_path: Path) -> None:
    """Images, videos, several media and none, in one batch; and again, from vLLM's caches."""
    family = TestedFamily(name, tmp_path / name)
    expected = family.answers(family.with_variant(variant), family.prompts)
    where = LoadConfig(
        dtype="float32", max_frames=4, engine="vllm", vllm_python=str(ENVIRONMENT / "bin/python")
    )
    model = system.describe(str(family.checkpoint), variant, where).load()
    try:
        found = [family.answers(model, family.prompts) for _ in range(2)]  # type: ignore[arg-type]
    finally:
        model.close()
    assert found == [expected, expected]
