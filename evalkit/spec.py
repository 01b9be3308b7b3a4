"""What a user asks for: which models with which variants, on which tasks, and how.

The command line, a YAML file and Python all build the same :class:`RunSpec`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError, did_you_mean
from evalkit.metrics.reasoning import RULES, TAGS
from evalkit.rope.ablations import ABLATIONS
from evalkit.rope.grammar import PART_KEYS
from evalkit.rope.variants import parse_variant, split_variants

SUBSETS = ("ci",)
EXECUTORS = ("auto", "local", "ray")


@dataclass(frozen=True)
class ArmSpec:
    """One model with one RoPE variant, as the user wrote them; ``rope`` may be ``auto``."""

    model: str
    rope: str


@dataclass(frozen=True)
class RunSpec:
    """A complete order.

    Attributes:
        models: checkpoints: a path, a hub id, ``tiny``, ``mock...``, or ``variant=checkpoint``.
        ropes: variants for every checkpoint that doesn't name its own; empty means ``auto``.
        tasks: names, globs or groups.
        limit: at most this many samples of each task, the same ones in every run.
        subset: ``ci`` for each task's fixed subset (its ``ci`` samples, from all categories).
        lmms_python: interpreter of an environment with lmms-eval, for ``lmms:`` tasks; None means this one.
        lmms_include: folders with further tasks of lmms-eval.
        official_random: seed for official scripts that draw an answer where they can read none.
        output: run directory; None means a name derived from the order, under ``results/``.
        data_root: local mirror with the hub's repository layout.
        tasks_dirs: further folders with task files.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        device_map: ``auto`` spreads each model over all devices that are seen, as transformers does.
        devices: one engine on each: ``0`` is a GPU, ``0+1`` two GPUs for one engine, ``cpu`` a share of the
            processor; empty means one engine on ``device``.
        executor: ``ray`` for engines on a Ray cluster, ``local`` for one in this process; ``auto`` is that
            unless there are several devices.
        gpus_per_engine: GPUs of each engine on a cluster.
        max_frames: of a video; None means the paper's 768 (at two a second).
        visual_tokens: of all media of a request; None means the paper's 24,576.
        workers: preprocessing processes; None means one per free core, 0 none.
        batch_tokens: token budget of what is answered at a time (new tokens included), of all models that
            are loaded together; None leaves it to the free memory.
        batch_size: upper limit on samples answered at a time; None leaves it to the budget.
        compile: the layers are compiled first, all but their attention.
        mc_logits: multiple-choice questions are answered by the likeliest of the options' letters.
        reasoning: rule that separates reasoning from answers before they are scored: ``tags``, or ``none``.
        audit: answers with a margin (in logits) below this are given again, each alone, and compared.
        without: techniques of the engine to switch off (:class:`~evalkit.engine.techniques.Techniques`).
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    ropes: tuple[str, ...] = ()
    limit: int | None = None
    subset: str | None = None
    official_random: int | None = None
    lmms_python: str | None = None
    lmms_include: tuple[str, ...] = ()
    output: str | None = None
    data_root: str | None = None
    tasks_dirs: tuple[str, ...] = ()
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    devices: tuple[str, ...] = ()
    executor: str = "auto"
    gpus_per_engine: int | None = None
    max_frames: int | None = None
    visual_tokens: int | None = None
    workers: int | None = None
    batch_tokens: int | None = None
    batch_size: int | None = None
    compile: bool = False
    mc_logits: bool = False
    reasoning: str = TAGS
    audit: float | None = None
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("no model given", "a run needs one", "add `--model tiny` or a checkpoint")
        if not self.tasks:
            raise UsageError("no task given", "a run needs one", "add `--tasks mini`; see `evalkit tasks`")
        for name in ("limit", "batch_tokens", "batch_size", "gpus_per_engine", "max_frames", "visual_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"`{name}` is {value}", "it must be at least 1", f"leave `{name}` out")
        if self.subset is not None and self.subset not in SUBSETS:
            hint = did_you_mean(self.subset, SUBSETS)
            raise UsageError(f"subset `{self.subset}`", f"there is none of this name.{hint}", "use `ci`")
        if self.subset is not None and self.limit is not None:
            raise UsageError("`--limit` and `--subset`", "each says how many samples to take", "give one")
        if self.reasoning not in RULES:
            hint = did_you_mean(str(self.reasoning), RULES)
            raise UsageError(
                f"reasoning rule `{self.reasoning}`",
                f"there is none of this name.{hint}",
                "use `tags` or `none`",
            )
        if self.executor not in EXECUTORS:
            hint = did_you_mean(self.executor, EXECUTORS)
            raise UsageError(f"executor `{self.executor}`", f"there is none of this name.{hint}", "use `ray`")
        if self.devices and self.device != "auto":
            raise UsageError("`--device` and `--devices`", "each says where models run", "give one")

    def arms(self) -> list[ArmSpec]:
        """Every (checkpoint, variant) pair, in the order written, without repeats.

        Raises:
            UsageError: a variant is unknown, or every checkpoint names its own and ``ropes`` is
                given as well.
        """
        paired = [pair_of(model) for model in self.models]
        if self.ropes and all(variant for variant, _ in paired):
            raise UsageError(
                "`--rope` has nothing to apply to",
                "every `--model` names its own variant (`variant=checkpoint`)",
                "leave `--rope` out, or give a checkpoint without `variant=`",
            )
        arms: list[ArmSpec] = []
        for variant, model in paired:
            ropes = [variant] if variant else expand(self.ropes) or ["auto"]
            arms += [ArmSpec(model, rope if rope == "auto" else str(read_variant(rope))) for rope in ropes]
        return list(dict.fromkeys(arms))

    def run_path(self) -> Path:
        """Where the run is stored: the same order always gives the same folder."""
        if self.output:
            return Path(self.output)
        arms = self.arms()
        order = [arms, self.tasks, self.limit, self.subset, self.dtype]
        order += [each for each in (self.mc_logits, self.max_frames, self.visual_tokens) if each]
        order += [self.reasoning] if self.reasoning != TAGS else []
        digest = hashlib.sha256(repr(tuple(order)).encode()).hexdigest()[:8]
        name = Path(arms[0].model).name.replace(":", "-").replace("=", "-")
        return Path("results") / f"{name}-{self.tasks[0].replace('*', 'x').replace(':', '-')}-{digest}"


def expand(ropes: Iterable[str]) -> list[str]:
    """Replace the paper's ablations (``table4``, ...) by their variants.

    >>> expand(["vanilla", "table9"])
    ['vanilla', 'mrope-i(temporal_stride=0.5)', 'mrope-i', 'mrope-i(temporal_stride=2)', 'mrope-i']
    """
    return [variant for rope in ropes for variant in ABLATIONS.get(rope, {rope: rope}).values()]


def read_variant(text: str) -> Any:
    """Parse a variant, turning the parser's complaint into one that says what to do."""
    try:
        return parse_variant(text)
    except ValueError as error:
        known = getattr(error, "known", ())
        hint = did_you_mean(getattr(error, "name", text), known)
        raise UsageError(
            f"RoPE variant `{text}`", f"{error}.{hint}", "see `evalkit ropes` for names and parameters"
        ) from None


def pair_of(model: str) -> tuple[str | None, str]:
    """Split ``variant=checkpoint``; a checkpoint alone gives ``(None, checkpoint)``.

    >>> pair_of("mrope-i(spatial_reset=false)=/ckpts/a")
    ('mrope-i(spatial_reset=false)', '/ckpts/a')
    >>> pair_of("mock:fixed=B")
    (None, 'mock:fixed=B')
    >>> pair_of("position=grid,frequency=chunk(16,24,24)=/ckpts/b")
    ('position=grid,frequency=chunk(16,24,24)', '/ckpts/b')
    """
    depth, equals = 0, 0
    # The parts of a composition have an equals sign of their own.
    wanted = 2 if model.partition("=")[0].strip() in PART_KEYS else 1
    for place, character in enumerate(model):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            equals = 0 if character == "," else equals + (character == "=")
        if depth == 0 and equals == wanted:
            variant, checkpoint = model[:place], model[place + 1 :]
            return (variant, checkpoint) if ":" not in variant and "/" not in variant else (None, model)
    return None, model


def split_list(values: Iterable[str]) -> tuple[str, ...]:
    """Flatten repeated options and comma lists; commas inside parentheses don't separate."""
    return tuple(item.strip() for value in values for item in split_variants(value) if item.strip())


def load_config(path: Path) -> dict[str, Any]:
    """Read a run's YAML file into keyword arguments of :class:`RunSpec`.

    Keys are the long options without dashes (``model``, ``rope``, ``tasks``, ``limit``, ...).

    Raises:
        UsageError: the file is missing, is no mapping, or has an unknown key.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UsageError(f"config `{path}`", str(error.strerror), "give a readable YAML file") from None
    except yaml.YAMLError as error:
        raise UsageError(
            f"config `{path}` is not valid YAML", str(error), "mend the line named above"
        ) from None
    if not isinstance(content, Mapping):
        raise UsageError(f"config `{path}`", "it is no mapping of options", "write `model: tiny` and so on")
    return {name: value for key, raw in content.items() for name, value in [_option(path, str(key), raw)]}


_PLURAL = {"model": "models", "rope": "ropes", "task": "tasks", "tasks_dir": "tasks_dirs"}
_LISTS = ("models", "ropes", "tasks", "tasks_dirs", "lmms_include", "without", "devices")
_NUMBERS = (
    "limit",
    "official_random",
    "max_frames",
    "visual_tokens",
    "workers",
    "batch_tokens",
    "batch_size",
    "gpus_per_engine",
)


def _option(path: Path, key: str, value: Any) -> tuple[str, Any]:
    known = [field.name for field in fields(RunSpec)]
    name = key.replace("-", "_")
    name = _PLURAL.get(name, name)
    if name not in known:
        shown = [next((short for short, long in _PLURAL.items() if long == each), each) for each in known]
        raise UsageError(
            f"config `{path}` has an unknown key `{key}`",
            f"known keys: {', '.join(shown)}.{did_you_mean(key, shown)}",
            "remove or rename it",
        )
    if name in _LISTS:
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return name, split_list(str(item) for item in items)
    if name == "batch_tokens" and value == "auto":
        return name, None
    if name in _NUMBERS and not (value is None or (isinstance(value, int) and not isinstance(value, bool))):
        raise UsageError(
            f"config `{path}`: `{key}` is {value!r}", "it must be a whole number", "mend that line"
        )
    if name in ("mc_logits", "compile"):
        if not isinstance(value, bool):
            raise UsageError(f"config `{path}`: `{key}` is {value!r}", "it must be true or false", "mend it")
        return name, value
    if name == "audit" and isinstance(value, int | float) and not isinstance(value, bool):
        return name, float(value)
    return name, value if name in _NUMBERS or value is None else str(value)
