"""The run spec: which models with which RoPE variants are run on which tasks, and how.

The command line, run.yaml and Python all build the same :class:`RunSpec`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from evalkit.config.engine_args import EngineArgs
from evalkit.config.generation import GenerationOptions
from evalkit.config.model_option import check_unique, split_label, split_model_option
from evalkit.core.console import scrub
from evalkit.core.errors import UsageError, did_you_mean, unknown_name
from evalkit.core.validation import describe_validation_error
from evalkit.core.yaml_file import read_yaml
from evalkit.data.media import MEDIA_SECONDS
from evalkit.metrics.reasoning import RULES, TAGS
from evalkit.rope.ablations import ABLATIONS
from evalkit.rope.grammar import split_variants
from evalkit.rope.outside import RopeFile, read_ropes_dirs, rope_catalog
from evalkit.rope.validation import BadRope
from evalkit.rope.variant import RopeVariant

SUBSETS = ("ci",)
EXECUTORS = ("auto", "local", "ray")

# Shares of a task's samples above which its score says more about failures than about the model.
RATE_LIMITS: Mapping[str, float] = {"truncated": 0.2, "unparsed": 0.2, "repeating": 0.2}


def _names(value: Any) -> Any:
    """One text or several; commas outside parentheses separate."""
    if isinstance(value, str | Path):
        return split_list([str(value)])
    if isinstance(value, list | tuple) and all(isinstance(each, str | Path | int) for each in value):
        return split_list(map(str, value))
    return value


def _paths(value: Any) -> Any:
    """One folder or several, whatever is in their names."""
    if isinstance(value, str | Path):
        return (str(value),)
    if isinstance(value, list | tuple) and all(isinstance(each, str | Path) for each in value):
        return tuple(map(str, value))
    return value


# Options that may be given several times go by these names in a file.
SHORT_NAMES = {
    "model": "models",
    "rope": "ropes",
    "task": "tasks",
    "tasks_dir": "tasks_dirs",
    "ropes_dir": "ropes_dirs",
    "rate_limit": "rate_limits",
    "label": "labels",
    "template_arg": "template_args",
}

_Several = str | list[str | int]
Names = Annotated[tuple[str, ...], BeforeValidator(_names, json_schema_input_type=_Several)]
Paths = Annotated[tuple[str, ...], BeforeValidator(_paths, json_schema_input_type=_Several)]
PathText = Annotated[
    str, BeforeValidator(lambda value: os.fspath(value) if isinstance(value, Path) else value)
]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class SystemSpec:
    """One model with one RoPE variant, as the user wrote them; ``rope`` may be ``auto``."""

    model: str
    rope: str


class RunSpec(GenerationOptions):
    """What to run, and how; :class:`~evalkit.config.generation.GenerationOptions` says how answers are
    generated.

    Attributes:
        models: checkpoints: a path, a hub id, ``tiny``, ``mock...``, or ``variant=checkpoint``; a path may be
            a pattern (``RUN/checkpoint-*``), whose matches are run in the order of their steps.
        labels: what tables call a system, by ``variant=checkpoint``, checkpoint or variant; for display
        alone.
            ``models`` may have them in front: ``label=variant=checkpoint``.
        processor: model that lends tokenizer and processor settings to those that have none.
        ropes: variants for every checkpoint that doesn't name its own; empty means ``auto``.
        tasks: names, globs or groups.
        limit: at most this many samples of each task, the same ones in every run.
        subset: ``ci`` for each task's fixed subset (its ``ci`` samples, from all categories).
        lmms_python: interpreter of an environment with lmms-eval, for ``lmms:`` tasks; None means this one.
        lmms_include: folders with further tasks of lmms-eval.
        official_random: seed for official scripts that draw an answer where they can read none.
        rate_limits: shares of a task's samples above which its score is unreliable (:data:`RATE_LIMITS`).
        output: run directory; None means a name derived from the rest, under ``results/``.
        wait: wait for samples that another process is answering into the same directory, instead of stopping.
        data_root: local mirror with the hub's repository layout.
        tasks_dirs: further folders with task files.
        ropes_dirs: folders with RoPE variants of one's own (docs/add-a-rope.md).
        engine: what computes the answers: ``evalkit``, or ``vllm``.
        vllm_python: interpreter of an environment with vLLM; None means this one.
        engine_args: vLLM's engine arguments by name, such as ``{"max_model_len": 32768}``.
        parity: samples of each task that evalkit's own engine answers as well, for comparison.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        device_map: ``auto`` spreads each model over all devices that are seen, as transformers does.
        devices: one engine on each: ``0`` is a GPU, ``0+1`` two GPUs for one engine, ``cpu`` a share of the
            processor; empty means one engine on ``device``.
        executor: ``ray`` for engines on a Ray cluster, ``local`` for one in this process; ``auto`` is
            ``local`` unless there are several devices.
        gpus_per_engine: GPUs of each engine on a cluster.
        max_frames: of a video; None means the paper's 768 (at two a second).
        visual_tokens: of all media of a request; None means the paper's 24,576.
        video_backend: what decodes videos: ``pyav``, ``decord`` or ``torchcodec``.
        workers: preprocessing processes; None means one per free core, 0 none.
        media_timeout: seconds that a medium may take to be read; its samples get an error then.
        batch_tokens: upper limit on the tokens answered at a time (new ones included), of all models that
            are loaded together; None (or ``auto``) leaves it to the free memory.
        batch_size: upper limit on samples answered at a time; None leaves it to the budget.
        compile: compile the layers first, all but their attention.
        deterministic: in 16 bits too, an answer depends on nothing but its prompt; slower.
        mc_logits: multiple-choice questions are answered by the likeliest of the options' letters.
        reasoning: rule that separates reasoning from answers before they are scored: ``tags``, or ``none``.
        audit: answers with a margin (in logits) below this are generated again, each alone, and compared.
        without: optimizations to switch off (:class:`~evalkit.engine.optimizations.Optimizations`).

    Raises:
        UsageError: a value has another type or is out of range, or two contradict each other.
    """

    models: Names
    tasks: Names
    labels: dict[str, str] = Field(default_factory=dict)
    ropes: Names = ()
    processor: PathText | None = None
    limit: Count | None = None
    subset: str | None = None
    official_random: int | None = None
    rate_limits: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    lmms_python: PathText | None = None
    lmms_include: Paths = ()
    output: PathText | None = None
    wait: bool = False
    data_root: PathText | None = None
    tasks_dirs: Paths = ()
    ropes_dirs: Paths = ()
    engine: Literal["evalkit", "vllm"] = "evalkit"
    vllm_python: PathText | None = None
    engine_args: EngineArgs = Field(default_factory=dict)
    parity: Count | None = None
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    devices: Names = ()
    executor: str = "auto"
    gpus_per_engine: Count | None = None
    max_frames: Count | None = None
    visual_tokens: Count | None = None
    video_backend: Literal["pyav", "decord", "torchcodec"] = "pyav"
    workers: Annotated[int, Field(ge=0)] | None = None
    media_timeout: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] = MEDIA_SECONDS
    batch_tokens: Annotated[
        Count | None,
        BeforeValidator(
            lambda value: None if value == "auto" else value,
            json_schema_input_type=Count | Literal["auto"] | None,
        ),
    ] = None
    batch_size: Count | None = None
    compile: bool = False
    deterministic: bool = False
    mc_logits: bool = False
    reasoning: str = TAGS
    audit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    without: Names = ()

    def __init__(self, **values: Any) -> None:
        unknown = next((name for name in values if name not in type(self).model_fields), None)
        if unknown is not None:
            known = list(type(self).model_fields)
            raise unknown_name("option", unknown, known, f"use one of: {', '.join(known)}")
        try:
            super().__init__(**_labels_apart(values))
        except ValidationError as error:
            what, why = describe_validation_error(error)
            raise UsageError(what, why, "correct it, or leave it out") from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.models:
            raise UsageError("no model given", "a run needs one", "add `--model tiny` or a checkpoint")
        if not self.tasks:
            raise UsageError("no task given", "a run needs one", "add `--tasks mini`; see `evalkit tasks`")
        if self.subset is not None and self.subset not in SUBSETS:
            raise unknown_name("subset", self.subset, SUBSETS, "use `ci`")
        if self.subset is not None and self.limit is not None:
            raise UsageError("`--limit` and `--subset`", "each says how many samples to take", "give one")
        if self.reasoning not in RULES:
            raise unknown_name("reasoning rule", self.reasoning, RULES, "use `tags` or `none`")
        if self.executor not in EXECUTORS:
            raise unknown_name("executor", self.executor, EXECUTORS, "use `ray`")
        if self.devices and self.device != "auto":
            raise UsageError("`--device` and `--devices`", "each says where models run", "give one")
        for name in self.rate_limits:
            if name not in RATE_LIMITS:
                raise unknown_name("rate", name, RATE_LIMITS, f"use one of {', '.join(RATE_LIMITS)}")
        return self

    def with_options(self, **values: Any) -> RunSpec:
        """The same with other values."""
        return RunSpec(**{**self.given_options(), **values})

    def given_options(self) -> dict[str, Any]:
        """The values that were given, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    def systems(self) -> list[SystemSpec]:
        """Every (checkpoint, variant) pair, in the order written, without repeats.

        Raises:
            UsageError: a variant is unknown, or every checkpoint names its own and ``ropes`` is
                given as well.
        """
        paired = [split_model_option(model) for model in self.models]
        if self.ropes and all(variant for variant, _ in paired):
            raise UsageError(
                "`--rope` has nothing to apply to",
                "every `--model` names its own variant (`variant=checkpoint`)",
                "leave `--rope` out, or give a checkpoint without `variant=`",
            )
        files = rope_files(self.ropes_dirs)
        systems: list[SystemSpec] = []
        for variant, model in paired:
            ropes = [variant] if variant else expand_ablations(self.ropes) or ["auto"]
            systems += [
                SystemSpec(model, rope if rope == "auto" else str(parse_rope_option(rope, files)))
                for rope in ropes
            ]
        return list(dict.fromkeys(systems))

    def run_path(self) -> Path:
        """Where the run is stored: equal specs always have the same folder."""
        if self.output:
            return Path(self.output)
        systems = self.systems()
        options: list[Any] = [self.tasks, self.limit, self.subset, self.dtype]
        options += [each for each in (self.mc_logits, self.max_frames, self.visual_tokens) if each]
        options += [self.reasoning] if self.reasoning != TAGS else []
        if self.engine != "evalkit":
            options += [("engine", self.engine, sorted(self.engine_args.items()))]
        options += [("processor", self.processor)] if self.processor else []
        options += [("video backend", self.video_backend)] if self.video_backend != "pyav" else []
        options += sorted(self.generation_options().items())
        # In the words of the first version: a finished command must find its folder.
        listed = ", ".join(f"ArmSpec(model={each.model!r}, rope={each.rope!r})" for each in systems)
        digest = hashlib.sha256(f"([{listed}], {repr(tuple(options))[1:]}".encode()).hexdigest()[:8]
        name = scrub(Path(systems[0].model).name).replace(":", "-").replace("=", "-").replace("*", "x")
        task = scrub(self.tasks[0]).replace("*", "x").replace(":", "-")
        return Path("results") / f"{name}-{task}-{digest}"


def expand_ablations(ropes: Iterable[str]) -> list[str]:
    """Replace the paper's ablations (``table4``, ...) by their variants.

    >>> expand_ablations(["vanilla", "table9"])
    ['vanilla', 'mrope-i(temporal_stride=0.5)', 'mrope-i', 'mrope-i(temporal_stride=2)', 'mrope-i']
    """
    return [variant for rope in ropes for variant in ABLATIONS.get(rope, {rope: rope}).values()]


def rope_files(folders: Iterable[str]) -> tuple[RopeFile, ...]:
    """What the files in folders of RoPE variants hold now.

    Raises:
        UsageError: there is no such folder, or a file in it can't be read or used.
    """
    try:
        files = read_ropes_dirs(tuple(folders))
        rope_catalog(files)
    except BadRope as error:
        raise UsageError(error.what, error.why, error.fix) from None
    return files


def parse_rope_option(text: str, files: tuple[RopeFile, ...] = ()) -> RopeVariant:
    """Read a variant: evalkit's own, of an installed package, or of ``files``.

    Raises:
        UsageError: it can't be read, or something from outside can't be used.
    """
    try:
        return rope_catalog(files).parse(text)
    except BadRope as error:
        raise UsageError(error.what, error.why, error.fix) from None
    except ValueError as error:
        known = getattr(error, "known", ())
        hint = did_you_mean(getattr(error, "name", text), known)
        raise UsageError(
            f"RoPE variant `{text}`",
            f"{error}.{hint}",
            "see `evalkit ropes` for names and parameters, and add `--ropes-dir` for your own",
        ) from None


def is_variant(text: str, files: tuple[RopeFile, ...] = ()) -> bool:
    """Whether a text is a variant that can be read."""
    try:
        parse_rope_option(text, files)
    except UsageError:
        return False
    return True


def canonical_rope(text: str, files: tuple[RopeFile, ...]) -> str:
    """A variant as it is printed; another text as it is."""
    return str(parse_rope_option(text, files)) if is_variant(text, files) else text


def _labels_apart(values: dict[str, Any]) -> dict[str, Any]:
    """Options with labels in front of models under ``labels``."""
    models, folders = _names(values.get("models", ())), _paths(values.get("ropes_dirs", ()))
    labels = values.get("labels") or {}
    if not isinstance(models, tuple) or not isinstance(folders, tuple) or not isinstance(labels, dict):
        return values
    if not any(model.count("=") > 1 for model in models):
        return values
    files = rope_files(folders)
    split = [split_label(model, lambda text: is_variant(text, files)) for model in models]
    in_front = [(model, label) for label, model in split if label is not None]
    if not in_front:
        return values
    # The same checkpoint, labelled twice, would keep the last label only.
    check_unique([(label, model) for model, label in in_front], "give it one label")
    return {**values, "models": tuple(model for _, model in split), "labels": {**labels, **dict(in_front)}}


def split_list(values: Iterable[str]) -> tuple[str, ...]:
    """Flatten repeated options and comma lists; commas inside parentheses don't separate."""
    return tuple(item.strip() for value in values for item in split_variants(value) if item.strip())


def load_config(path: Path) -> dict[str, Any]:
    """Read a run's YAML file into keyword arguments of :class:`RunSpec`.

    Keys are the long options without dashes (``model``, ``rope``, ``tasks``, ``limit``, ...).

    Raises:
        UsageError: the file is missing, is no mapping, or has an unknown key or a value of another type.
    """
    found = _keyed(path, read_yaml(path, "config"))
    # What a file leaves out is given on the command line.
    rest = {name: "-" for name in ("models", "tasks") if not found.get(name)}
    try:
        spec = RunSpec(**{**found, **rest})
    except UsageError as error:
        raise UsageError(f"config `{path}`: {error.what}", error.why, error.fix) from None
    return {name: getattr(spec, name) for name in found}


def _keyed(path: Path, content: Mapping[Any, Any]) -> dict[str, Any]:
    known = list(RunSpec.model_fields)
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        name = SHORT_NAMES.get(name, name)
        if name not in known:
            shown = [
                next((short for short, long in SHORT_NAMES.items() if long == each), each) for each in known
            ]
            raise UsageError(
                f"config `{path}` has an unknown key `{key}`",
                f"known keys: {', '.join(shown)}.{did_you_mean(str(key), shown)}",
                "remove or rename it",
            )
        if name in found:
            raise UsageError(f"config `{path}` has `{key}` twice", "both name the same option", "keep one")
        found[name] = value
    return found
