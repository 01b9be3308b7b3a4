"""Recipes: under which conditions somebody's numbers were made, as data with sources.

A recipe is a YAML file, here or of one's own. Each value of it has the place that it was read in; what isn't
known of the conditions is listed under ``unknown``. ``docs/recipes.md`` describes the format.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from evalkit.core.errors import UsageError, unknown_name
from evalkit.core.types import MediaLimits
from evalkit.core.validation import describe_validation_error
from evalkit.core.yaml_file import read_yaml

PAPER = "paper"
"""The default: the conditions of the paper, which evalkit's own defaults are."""

FOLDER = Path(__file__).parent

T = TypeVar("T")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Sourced(_Model, Generic[T]):
    """A value and where it was read: a URL, or ``repository/file@commit``."""

    value: T
    source: Annotated[str, Field(min_length=1)]


OWN = "the recipe's author"


def _sourced(value: Any) -> Any:
    return value if isinstance(value, Mapping) else {"value": value, "source": OWN}


Count = Annotated[Sourced[Annotated[int, Field(ge=1)]], BeforeValidator(_sourced)]
Whole = Annotated[Sourced[Annotated[int, Field(ge=0)]], BeforeValidator(_sourced)]
Rate = Annotated[Sourced[Annotated[float, Field(gt=0, allow_inf_nan=False)]], BeforeValidator(_sourced)]
Share = Annotated[Sourced[Annotated[float, Field(gt=0, le=1)]], BeforeValidator(_sourced)]
Heat = Annotated[Sourced[Annotated[float, Field(ge=0, allow_inf_nan=False)]], BeforeValidator(_sourced)]
Penalty = Annotated[Sourced[Annotated[float, Field(ge=-2, le=2)]], BeforeValidator(_sourced)]
Words = Annotated[Sourced[str], BeforeValidator(_sourced)]
Wording = Annotated[Sourced[Literal["qwen2-vl", "concise", "plain"]], BeforeValidator(_sourced)]
FrameChoice = Annotated[Sourced[Literal["fps", "uniform"]], BeforeValidator(_sourced)]
Thinking = Annotated[Sourced[Literal["template", "on", "off"]], BeforeValidator(_sourced)]
Reading = Annotated[Sourced[Literal["tags", "none"]], BeforeValidator(_sourced)]


class TaskSettings(_Model):
    """What a recipe says of a benchmark.

    Attributes:
        wording: whose words of the request for an answer are used (:mod:`evalkit.benchmarks.wording`),
            instead of those of the model's family.
        prompt: the whole text of a question, with ``{question}``, and ``{options}`` one a line (``A. red``),
            or ``{options_in_parentheses}`` (``(A) red``).
        frame_rule: ``fps`` frames a second, within the limits; or ``uniform``, ``max_frames`` of every video.
        fps: frames a second.
        min_frames: of a video, at least.
        max_frames: of a video, at most.
        visual_tokens: of all media of a request, at most.
        image_min_pixels: of an image; see :class:`~evalkit.core.types.MediaLimits`, as those that follow.
        image_max_pixels: of an image.
        video_min_pixels: of a frame, or a video.
        video_max_pixels: of a frame, or a video.
        max_tiles: of an image that is cut into tiles.
        max_new_tokens: of an answer.
        max_reasoning_tokens: of reasoning, apart from the answer's.
        temperature: of sampling; 0 is greedy.
        top_p: see :class:`~evalkit.core.sampling_params.SamplingParams`.
        top_k: see there, as presence_penalty.
        split: of the data set that the published numbers are of.
    """

    wording: Wording | None = None
    prompt: Words | None = None
    frame_rule: FrameChoice | None = None
    fps: Rate | None = None
    min_frames: Count | None = None
    max_frames: Count | None = None
    visual_tokens: Count | None = None
    image_min_pixels: Count | None = None
    image_max_pixels: Count | None = None
    video_min_pixels: Count | None = None
    video_max_pixels: Count | None = None
    max_tiles: Count | None = None
    max_new_tokens: Count | None = None
    max_reasoning_tokens: Count | None = None
    temperature: Heat | None = None
    top_p: Share | None = None
    top_k: Whole | None = None
    presence_penalty: Penalty | None = None
    split: Words | None = None

    def sourced(self) -> dict[str, Sourced[Any]]:
        """What is said, by name."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in found.items() if value is not None}

    def values(self) -> dict[str, Any]:
        """What is said, without sources."""
        return {name: found.value for name, found in self.sourced().items()}


class Settings(TaskSettings):
    """What a recipe says of all benchmarks.

    Attributes:
        system_prompt: stands before every question.
        thinking: whether the model thinks: see :class:`~evalkit.config.generation.GenerationOptions`.
        reasoning: rule by which reasoning and answer are separated (:mod:`evalkit.metrics.reasoning`).
    """

    system_prompt: Words | None = None
    thinking: Thinking | None = None
    reasoning: Reading | None = None


class Recipe(_Model):
    """The conditions under which somebody's numbers were made.

    Attributes:
        name: by which it is shown.
        title: one line.
        families: of models that it was made for; others may be run by it where its limits make sense.
        settings: for all benchmarks.
        tasks: for some, by name or pattern, over ``settings``; a later pattern counts more.
        unknown: what of the conditions is not known.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    title: str = ""
    families: tuple[str, ...] = ()
    settings: Settings = Settings()
    tasks: dict[str, TaskSettings] = Field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def default(self) -> bool:
        """Whether it is evalkit's own default, of which nothing has to be applied."""
        return self == load_recipe(PAPER)

    def for_task(self, task: str) -> dict[str, Sourced[Any]]:
        """What it says of a benchmark, by name."""
        found = self.settings.sourced()
        for pattern, own in self.tasks.items():
            if fnmatch.fnmatchcase(task, pattern):
                found |= own.sourced()
        return found

    def flat(self) -> dict[str, Sourced[Any]]:
        """All that it says; of single benchmarks as ``task: name``."""
        found: dict[str, Sourced[Any]] = dict(self.settings.sourced())
        for pattern, own in self.tasks.items():
            found |= {f"{pattern}: {name}": value for name, value in own.sourced().items()}
        return found

    @property
    def digest(self) -> str:
        """A hash over all of its values; sources and titles change no answer."""
        values = {name: found.value for name, found in self.flat().items()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def recipe_names() -> list[str]:
    """The recipes that evalkit brings, the default first."""
    found = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return sorted(found, key=lambda name: name != PAPER)


def is_file(name: str) -> bool:
    """Whether a recipe is meant as a file, not as one of evalkit's own."""
    return name not in recipe_names() and (
        name.endswith((".yaml", ".yml")) or "/" in name or Path(name).is_file()
    )


def load_recipe(name: str) -> Recipe:
    """The recipe of a name, or in a file.

    Raises:
        UsageError: there is none, or it can't be read.
    """
    if not is_file(name) and name not in recipe_names():
        raise unknown_name(
            "recipe", name, recipe_names(), "see `evalkit recipes`, or give the path of a file: `./mine.yaml`"
        )
    return _read(Path(name).expanduser()) if is_file(name) else _shipped(name)


@cache
def _shipped(name: str) -> Recipe:
    return _read(FOLDER / f"{name}.yaml")


def _read(path: Path) -> Recipe:
    content: dict[str, Any] = {"name": path.stem, **read_yaml(path, "recipe")}
    content |= {
        name: tuple(content[name]) for name in ("families", "unknown") if isinstance(content.get(name), list)
    }
    try:
        return Recipe(**content)
    except ValidationError as error:
        what, why = describe_validation_error(error)
        raise UsageError(
            f"recipe `{path}`: {what}", why, "see docs/recipes.md for what a recipe holds"
        ) from None
    except TypeError as error:  # a key that is no text
        raise UsageError(
            f"recipe `{path}`", str(error), "see docs/recipes.md for what a recipe holds"
        ) from None


def recipe_label(name: str, recipe: Recipe) -> str:
    """What rows of results say: the name, and of a file some of its digest, since its content may change."""
    return f"{recipe.name}#{recipe.digest[:6]}" if is_file(name) else recipe.name


def media_limits(values: Mapping[str, Any]) -> MediaLimits | None:
    """The limits on media among a recipe's values; None if it says nothing of them.

    Raises:
        UsageError: frames are to be spread evenly, and it isn't said how many.
    """
    found = {name: values[name] for name in MediaLimits.__dataclass_fields__ if name in values}
    if values.get("frame_rule") == "uniform":
        if "max_frames" not in found:
            raise UsageError(
                "a recipe with `frame_rule: uniform`", "it doesn't say how many frames", "add `max_frames`"
            )
        found["min_frames"] = found["max_frames"]
    return MediaLimits(**found) if found else None
