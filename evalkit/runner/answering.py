"""How a run's questions are asked and answered: what the command says, over what its recipe says."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from evalkit.benchmarks.options import option_lines
from evalkit.config.recipes import Recipe, load_recipe, media_limits, recipe_label
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import UsageError
from evalkit.core.sampling_params import SamplingParams
from evalkit.core.task import Task
from evalkit.core.types import MediaLimits, MediaRef, Part, Sample, Subtitled, Text
from evalkit.metrics.base import ExternalMetric
from evalkit.models.chat_options import ChatOptions

# What an option says that says nothing.
_USUAL: Mapping[str, Any] = {
    "temperature": 0,
    "top_p": 1,
    "top_k": 0,
    "presence_penalty": 0,
    "thinking": "template",
}
_IN_PROMPTS = {"question", "options", "options_in_parentheses"}
_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty")


LEAST_TEMPERATURE = 0.001


@dataclass(frozen=True)
class TaskAnswering:
    """How the questions of a benchmark are asked and answered.

    Attributes:
        n: answers to each question.
        sampling: how they are drawn; None for greedy decoding.
        max_new_tokens: of an answer; None for the benchmark's own limit.
        reasoning_tokens: further ones for reasoning alone; None sets nothing apart.
        limits: how media are shown, if not as the model does by itself.
        wording: whose request for an answer is used; None for that of the model's family.
        prompt: the whole text of a question; None for the benchmark's own.
    """

    n: int = 1
    sampling: SamplingParams | None = None
    max_new_tokens: int | None = None
    reasoning_tokens: int | None = None
    limits: MediaLimits | None = None
    wording: str | None = None
    prompt: str | None = None

    def identity(self) -> dict[str, Any]:
        """What of it changes an answer and is not in the prompt; nothing for the default."""
        found: dict[str, Any] = {}
        if self.sampling is not None:
            found["sampling"] = vars(self.sampling)
        if self.reasoning_tokens is not None:
            found["reasoning tokens"] = self.reasoning_tokens
        if self.limits is not None:
            found["limits"] = self.limits.given
        return found

    def described(self) -> dict[str, str]:
        """Everything that is not the default, by name."""
        found: dict[str, Any] = {} if self.limits is None else dict(self.limits.given)
        found |= {"sampling": None if self.sampling is None else str(self.sampling)}
        found |= {name: getattr(self, name) for name in ("max_new_tokens", "wording", "prompt")}
        found |= {"max_reasoning_tokens": self.reasoning_tokens, "n": self.n if self.n > 1 else None}
        return {name: f"{value}" for name, value in found.items() if value is not None}

    def parts(self, sample: Sample) -> tuple[Part, ...]:
        """A question's parts, in the recipe's words.

        Raises:
            UsageError: the recipe words the whole text, and the question has several texts.
        """
        if self.prompt is not None:
            return tuple(_reworded(sample, self.prompt))
        if self.wording is None:
            return sample.parts
        return tuple(
            Text(each.by_family.get(self.wording, each.text)) if isinstance(each, Text) else each
            for each in sample.parts
        )


def _reworded(sample: Sample, prompt: str) -> Iterator[Part]:
    texts = [each for each in sample.parts if not isinstance(each, MediaRef)]
    if len(texts) != 1 or isinstance(texts[0], Subtitled):
        raise UsageError(
            f"the recipe's prompt for sample `{sample.id}`",
            f"it words one text, and this question has {len(texts)}, or subtitles",
            "leave `prompt` out for this benchmark, and choose a `wording`",
        )
    options = sample.meta.get("options") or {}
    options = options if isinstance(options, Mapping) else {}
    known = {
        "question": str(sample.meta.get("question", "")),
        "options": option_lines(options),
        "options_in_parentheses": "\n".join(f"({letter}) {text}" for letter, text in options.items()),
    }
    for each in sample.parts:
        yield each if isinstance(each, MediaRef) else Text(prompt.format(**known))


def with_reading_rule(spec: RunSpec) -> RunSpec:
    """The command's options with the recipe's rule that separates reasoning from answers, unless it names
    one.
    """
    recipe = load_recipe(spec.recipe)
    rule = None if recipe.default else recipe.settings.values().get("reasoning")
    if rule is None or "reasoning" in spec.model_fields_set:
        return spec
    return spec.with_options(reasoning=rule)


@dataclass(frozen=True)
class Answering:
    """How a run's questions are asked and answered.

    Attributes:
        spec: the command's options.
        recipe: what they say nothing of is the recipe's.
    """

    spec: RunSpec
    recipe: Recipe
    _tasks: dict[str, TaskAnswering] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, spec: RunSpec) -> Answering:
        """Read the recipe of a command.

        Raises:
            UsageError: there is none of its name, or options contradict each other.
        """
        found = cls(spec, load_recipe(spec.recipe))
        found.for_task("*")
        return found

    @cached_property
    def label(self) -> str:
        """What rows of results say of the recipe: its name, and what the command changed of it."""
        said = {} if self.recipe.default else self.recipe.settings.values()
        usual = {**_USUAL, **said}
        changed = {
            name: value
            for name, value in self.spec.generation_options().items()
            if name not in ("recipe", "template_args", "n", "seed") and value != usual.get(name)
        }
        changed |= {f"template argument {name}": value for name, value in self.spec.template_args.items()}
        words = [f"{name.replace('_', ' ')} {_text(value)}" for name, value in sorted(changed.items())]
        return " + ".join(
            [recipe_label(self.spec.recipe, self.recipe), *([", ".join(words)] if words else [])]
        )

    @property
    def chat(self) -> ChatOptions:
        """How chat templates are rendered."""
        said = {} if self.recipe.default else self.recipe.settings.values()
        given = sorted(self.spec.template_args.items())
        return ChatOptions(
            thinking=self.spec.thinking or said.get("thinking", "template"),
            template_arguments=tuple((name, json.dumps(value)) for name, value in given),
            system_prompt=said.get("system_prompt"),
        )

    def for_task(self, name: str) -> TaskAnswering:
        """How a benchmark's questions are asked and answered.

        Raises:
            UsageError: options contradict each other.
        """
        if name not in self._tasks:
            self._tasks[name] = self._resolved(name)
        return self._tasks[name]

    def task(self, task: Task) -> Task:
        """A benchmark with the limit of new tokens that its answers have.

        Raises:
            UsageError: it can't be answered more than once.
        """
        own = self.for_task(task.name)
        if own.n > 1 and (task.submission is not None or isinstance(task.metric, ExternalMetric)):
            judge = "its server" if task.submission is not None else "the program that scores it"
            raise UsageError(
                f"task `{task.name}` with `--n {own.n}`",
                f"{judge} takes one answer to a question",
                "leave `--n` out for it",
            )
        return task if own.max_new_tokens is None else replace(task, max_new_tokens=own.max_new_tokens)

    def identity(self) -> dict[str, str]:
        """What systems' answers depend on beside the checkpoint; nothing for the default."""
        return {} if self.recipe.default else {"recipe": f"{self.recipe.name} {self.recipe.digest}"}

    @property
    def draws(self) -> bool:
        """Whether the answers of some benchmark are drawn, or may be."""
        if self.spec.temperature is not None:
            return self.spec.temperature > 0
        said = () if self.recipe.default else (self.recipe.settings, *self.recipe.tasks.values())
        return any(each.values().get("temperature") for each in said)

    def notes(self, tasks: Sequence[Task]) -> list[str]:
        """Sentences to print with a run: what isn't known of a recipe, and where its numbers are of another
        split.
        """
        if self.recipe.default:
            return []
        found = []
        if self.recipe.unknown:
            count, name = len(self.recipe.unknown), self.recipe.name
            found.append(
                f"recipe {name}: {count} of its conditions are not known (`evalkit recipes show {name}`)"
            )
        for task in tasks:
            said = self.recipe.for_task(task.name).get("split")
            here = task.dataset.describe().get("split", "")
            if said is not None and here and said.value != here:
                found.append(
                    f"{task.name}: the numbers of recipe {self.recipe.name} are of the split "
                    f"`{said.value}`, and this is `{here}`"
                )
        return found

    def _resolved(self, name: str) -> TaskAnswering:
        spec, said = self.spec, {}
        if not self.recipe.default:
            said = {key: found.value for key, found in self.recipe.for_task(name).items()}
        limits = {key: getattr(spec, key) for key in ("max_frames", "visual_tokens") if getattr(spec, key)}
        wording = said.get("wording")
        return TaskAnswering(
            n=spec.n or 1,
            sampling=self._sampling(said),
            max_new_tokens=spec.max_new_tokens or said.get("max_new_tokens"),
            reasoning_tokens=spec.max_reasoning_tokens or said.get("max_reasoning_tokens"),
            limits=None if self.recipe.default else media_limits({**said, **limits}),
            wording=wording,
            prompt=_checked_prompt(said.get("prompt")),
        )

    def _sampling(self, said: Mapping[str, Any]) -> SamplingParams | None:
        spec = self.spec
        values = {
            key: getattr(spec, key) if getattr(spec, key) is not None else said.get(key) for key in _SAMPLING
        }
        temperature = float(values["temperature"] or 0)
        drawn = temperature > 0
        if not drawn:
            given = [key for key in (*_SAMPLING[1:], "seed") if getattr(spec, key) is not None]
            given += ["n"] if spec.n not in (None, 1) else []
            if given:
                raise UsageError(
                    f"`--{given[0].replace('_', '-')}` without sampling",
                    "decoding is greedy: it gives the same answer every time",
                    "add `--temperature 0.7`, or leave it out",
                )
            return None
        if temperature < LEAST_TEMPERATURE:
            raise UsageError(
                f"temperature {temperature:g}",
                f"below {LEAST_TEMPERATURE} logits may overflow",
                "0 is greedy decoding",
            )
        if spec.mc_logits:
            raise UsageError(
                "`--mc-logits` and sampling", "the likeliest letter is not drawn", "give one of them"
            )
        chosen = {key: value for key, value in values.items() if value is not None}
        return SamplingParams(**chosen, seed=spec.seed or 0)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value}"


def _checked_prompt(prompt: str | None) -> str | None:
    if prompt is None:
        return None
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(prompt) if name is not None}
    except ValueError as error:
        names = {str(error)}
    if not names <= _IN_PROMPTS:
        raise UsageError(
            f"the recipe's prompt {prompt!r}",
            f"it may have {', '.join(sorted(_IN_PROMPTS))} in braces, and nothing else",
            "double other braces: {{ and }}",
        )
    return prompt
