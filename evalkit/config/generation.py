"""The options of a run that say how answers are generated: recipe, thinking, limits, sampling."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from evalkit.config.recipes import PAPER
from evalkit.core.errors import UsageError

_Positive = Annotated[int, Field(ge=1)]


def _path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, Path) else value


def read_template_args(values: Iterable[str]) -> dict[str, Any]:
    """``NAME=VALUE`` pairs; a value is JSON where it can be read as such, else text.

    Raises:
        UsageError: one is no pair, or two have one name.

    >>> read_template_args(["enable_thinking=false", "effort=low"])
    {'enable_thinking': False, 'effort': 'low'}
    """
    found: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip() or name.strip() in found:
            why = "it is not NAME=VALUE" if name.strip() not in found else "it is given twice"
            raise UsageError(
                f"template argument `{value}`", why, "write `--template-arg enable_thinking=false`"
            )
        try:
            found[name.strip()] = json.loads(text)
        except ValueError:
            found[name.strip()] = text
    return found


def _template_args(value: Any) -> Any:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return read_template_args(value)
    return dict(value) if isinstance(value, Mapping) else value


class GenerationOptions(BaseModel):
    """How answers are generated. What isn't given is the recipe's to say.

    Attributes:
        recipe: the name of a recipe (``evalkit recipes``), or the path of a YAML file with one.
        thinking: whether models think before they answer: ``template`` leaves it to their chat template.
        template_args: further arguments of the chat template, by name.
        max_new_tokens: of an answer, its reasoning aside if that has a budget; None leaves it to the
            benchmark.
        max_reasoning_tokens: budget of reasoning, apart from the answer's; None sets nothing apart.
        temperature: of sampling; 0 is greedy decoding.
        top_p: the least probable tokens, as many as leave this much probability, are never drawn.
        top_k: only so many of the likeliest tokens are drawn; 0 for all.
        presence_penalty: taken off the logits of every token that an answer has already, where it is drawn.
        seed: of sampling.
        n: answers to each question.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    recipe: Annotated[str, BeforeValidator(_path)] = PAPER
    thinking: Literal["template", "on", "off"] | None = None
    template_args: Annotated[
        dict[str, Any],
        BeforeValidator(_template_args, json_schema_input_type=dict[str, Any] | list[str] | str),
    ] = Field(default_factory=dict)
    max_new_tokens: _Positive | None = None
    max_reasoning_tokens: _Positive | None = None
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    n: _Positive | None = None

    def generation_options(self) -> dict[str, Any]:
        """What of these is given, by name; nothing for the default."""
        values = {name: getattr(self, name) for name in GenerationOptions.model_fields}
        unset: tuple[Any, ...] = (None, {})
        return {
            name: value
            for name, value in values.items()
            if value not in unset and (name, value) != ("recipe", PAPER)
        }
