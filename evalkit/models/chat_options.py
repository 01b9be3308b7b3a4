"""How a chat template is rendered: thinking on or off, other arguments of the template, a system prompt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evalkit.core.errors import UsageError
from evalkit.metrics.reasoning import opens_reasoning

Thinking = Literal["template", "on", "off"]

ARGUMENTS = ("enable_thinking", "thinking")
"""What templates call the argument: Qwen's and GLM's ``enable_thinking``, ``thinking`` of DeepSeek and
Granite.
"""

Render = Callable[[Mapping[str, Any]], str]
"""The chat text of a question with further arguments for the template."""


@dataclass(frozen=True)
class ChatOptions:
    """What is said to a checkpoint's chat template.

    Attributes:
        thinking: ``template`` leaves it to the template.
        template_arguments: further arguments, by name; values are JSON.
        system_prompt: stands before the question; None for what the template does by itself.
    """

    thinking: Thinking = "template"
    template_arguments: tuple[tuple[str, str], ...] = ()
    system_prompt: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The further arguments, as values."""
        return {name: json.loads(value) for name, value in self.template_arguments}

    def identity(self) -> dict[str, str]:
        """The components of a model's identity; none where nothing is said."""
        found: dict[str, str] = {}
        if self.thinking != "template":
            found["thinking"] = self.thinking
        if self.template_arguments:
            found["template arguments"] = ", ".join(
                f"{name}={value}" for name, value in self.template_arguments
            )
        if self.system_prompt is not None:
            found["system prompt"] = self.system_prompt
        return found


def resolved_arguments(options: ChatOptions, template: str, render: Render) -> dict[str, Any]:
    """The arguments that make a template do what the options say.

    Raises:
        UsageError: the template knows no such argument, or can't think, or can't leave it.
    """
    known = template_variables(template)
    for name in options.arguments:
        if name not in known:
            raise UsageError(
                f"`--template-arg {name}=...`",
                f"the checkpoint's chat template has no argument of that name; it asks for {_listed(known)}",
                "correct the name, or leave it out",
            )
    if options.thinking == "template":
        return options.arguments
    wanted = options.thinking == "on"
    for name in ARGUMENTS:
        if name in options.arguments:
            raise UsageError(
                f"`--thinking {options.thinking}` and `--template-arg {name}=...`",
                "both say whether the model thinks",
                "give one",
            )
        if name in known and render({name: True}) != render({name: False}):
            return {**options.arguments, name: wanted}
    if opens_reasoning(render(options.arguments)) == wanted:
        return options.arguments  # it never does otherwise
    why = (
        "the checkpoint's chat template has no argument for thinking, and doesn't open reasoning by itself"
        if wanted
        else "the checkpoint's chat template always opens reasoning, and has no argument against it"
    )
    raise UsageError(f"`--thinking {options.thinking}`", why, "leave it out, or choose another checkpoint")


def template_variables(template: str) -> set[str]:
    """The variables that a chat template takes from outside, other than the chat itself."""
    from jinja2 import TemplateSyntaxError, meta, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Transformers' mark around what the assistant says, as a plain block."""

        tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(extensions=[loopcontrols, Generation])
    try:
        found = meta.find_undeclared_variables(environment.parse(template))
    except TemplateSyntaxError:  # rendering it says what is wrong
        return set()
    return found - {"messages", "add_generation_prompt", "raise_exception", "strftime_now"}


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"
