"""What kind of folder was given as a checkpoint, in plain words, and all that it lacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from evalkit.core.errors import EnvironmentProblem, EvalkitError, UsageError, did_you_mean
from evalkit.models.checkpoints.author_formats import author_format
from evalkit.models.checkpoints.files import (
    ADAPTER_CONFIG,
    CONFIG,
    INDEX,
    NO_PICKLES,
    SINGLE_WEIGHTS,
    header_of,
    is_adapter,
    listed,
    read_config,
    read_json,
    shards,
)
from evalkit.models.checkpoints.foreign_formats import (
    DATA_SET,
    below,
    cached_repositories,
    foreign_format_of,
    foreign_format_of_file,
    pointers,
    unfinished,
)
from evalkit.models.checkpoints.missing_processor import processor_fix, processor_parts
from evalkit.models.checkpoints.quantization import quantisation
from evalkit.models.checkpoints.unknown_family import needs
from evalkit.models.families.registry import FAMILIES

NO_WEIGHTS = "no weights"
_GIVE = "give the folder that `save_pretrained` wrote"


@dataclass(frozen=True)
class FolderKind:
    """What a folder is.

    Attributes:
        name: short, such as ``hub layout``, ``adapter``, ``DeepSpeed ZeRO``.
        sentence: what goes after "this is": ``a checkpoint of ...``.
        missing: all that a checkpoint needs and that isn't there.
        fix: what to do about it; empty where there is nothing to do.
        problem: why it can't be run as it is: it is no whole checkpoint (``folder``), evalkit has no such
            family (``family``), or tokenizer and processor have to come from elsewhere (``processor``).
        inner: checkpoints inside of it, by their relative names.
    """

    name: str
    sentence: str
    missing: tuple[str, ...] = ()
    fix: str = ""
    problem: Literal["", "folder", "family", "processor"] = ""
    inner: tuple[str, ...] = ()


def describe_folder(folder: Path) -> FolderKind:
    """What a folder (or file) is.

    Raises:
        EnvironmentProblem: a file that would tell is damaged.
    """
    if not folder.is_dir():
        return _file(folder)
    if not any(folder.iterdir()):
        return FolderKind("empty folder", "not a model folder: it is empty", _parts(folder), _GIVE, "folder")
    cloned = pointers(folder)
    if cloned:
        return FolderKind(
            "git-lfs pointers",
            f"a clone without Git LFS, with pointers in the place of {listed(cloned)}",
            tuple(cloned),
            f"fetch them: `cd {quote(str(folder))} && git lfs install && git lfs pull`",
            "folder",
        )
    if is_adapter(folder):
        base = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
        sentence = f"an adapter of `{base}`" if base else "an adapter that names no base model"
        return FolderKind("adapter", sentence, inner=_steps(folder))
    config = read_config(folder) if (folder / CONFIG).is_file() else {}
    return _by_family(folder, config) or _without_weights(folder, config) or _checkpoint(folder, config)


def check_folder(folder: Path, name: str) -> FolderKind:
    """What a folder is that is to be run; tokenizer and processor may still have to come from elsewhere.

    Raises:
        UsageError: evalkit doesn't run such models.
        EnvironmentProblem: it is no whole checkpoint, and nothing to make one of.
    """
    kind = describe_folder(folder)
    if kind.problem in ("folder", "family"):
        raise refusal(folder, kind, name)
    return kind


def refusal(folder: Path, kind: FolderKind, name: str) -> EvalkitError:
    """What to tell somebody who wants to run a folder that can't be run."""
    if kind.problem == "family":
        known = [each for each in FAMILIES if each != "mock"]
        family = str(read_config(folder).get("model_type"))
        return UsageError(
            f"model `{name}` is {kind.sentence}",
            f"evalkit can run: {', '.join(known)}.{did_you_mean(family, known)}",
            kind.fix,
        )
    what = f"`{folder}` is {kind.sentence}"
    if kind.name == NO_WEIGHTS:
        what = f"the weights of `{folder}` are missing"
    return EnvironmentProblem(what, _lacks(kind) or "it is no checkpoint", kind.fix)


def _lacks(kind: FolderKind) -> str:
    return f"it has no {', no '.join(kind.missing)}" if kind.missing else ""


def _file(path: Path) -> FolderKind:
    foreign_format = foreign_format_of_file(path.name)
    if foreign_format is None:
        what = "one file of weights" if path.suffix == ".safetensors" else "a file"
        return FolderKind("file", f"{what}, and a checkpoint is a folder", (), _HOLDS, "folder")
    return FolderKind(
        foreign_format.name,
        foreign_format.sentence.format(found=path.name),
        (),
        _fix(foreign_format.fix, path.parent, path),
        "folder",
    )


_HOLDS = "give the folder that holds it, with config.json and the rest"


def _by_family(folder: Path, config: Mapping[str, Any]) -> FolderKind | None:
    """A model that evalkit can't run, however it is stored."""
    family = config.get("model_type")
    if not config or (family in FAMILIES and family != "mock"):
        return None
    elsewhere = author_format(folder, config)
    if elsewhere:
        return FolderKind("original repository", elsewhere[0], (), elsewhere[1], "family")
    choose = "choose a checkpoint of one of these families (`evalkit models`)"
    if not family:
        return FolderKind(
            "no family", "a folder whose config.json names no `model_type`", (), choose, "family"
        )
    code = ", with Python code of its own, which is not executed" if config.get("auto_map") else ""
    if any(re.search(r"vision|visual|image|img|video|audio|mm_", key) for key in config):
        sentence = f"of the family `{family}`{code}"
        return FolderKind("other family", sentence, (), f"{choose}; {needs(config)}", "family")
    return FolderKind(
        "text-only model",
        f"of the family `{family}`, whose config.json speaks of neither images nor videos{code}",
        (),
        choose,
        "family",
    )


def _without_weights(folder: Path, config: Mapping[str, Any]) -> FolderKind | None:
    """A folder without all of the weights that evalkit could read, or without a configuration."""
    weights = _weights(folder)
    if not weights and config:
        return None
    missing = _parts(folder, weights)
    inner = _inner(folder)
    kind = (
        (_started(folder) or _foreign(folder) if weights else None)
        or _cached(folder)
        or _around(folder, inner)
        or _data_set(folder)
        or _bare(folder, config, weights)
    )
    inside = (
        f"; or give one of those inside: {listed(inner)}" if inner and kind.name != "training run" else ""
    )
    lacks = () if kind.name == "hub cache" else missing
    return FolderKind(kind.name, kind.sentence, lacks, kind.fix + inside, "folder", tuple(inner))


def _started(folder: Path) -> FolderKind | None:
    files = unfinished(folder)
    if not files:
        return None
    return FolderKind(
        "unfinished download",
        f"a download that didn't come to its end ({listed(path.name for path in files)})",
        fix="repeat the download, which goes on where it stopped (`hf download ORGANISATION/NAME --local-dir "
        f"{quote(str(folder))}`)",
    )


def _foreign(folder: Path) -> FolderKind | None:
    """A folder as another program writes it; of a training run, the last of its checkpoints is looked at."""
    steps = sorted((path for path in folder.glob("checkpoint-*") if path.is_dir()), key=natural)
    for each in (folder, *reversed(steps)):
        if each != folder and _holds_checkpoint(each):
            return None
        known = foreign_format_of(each)
        if known is None:
            continue
        foreign_format, path = known
        shown = path.relative_to(folder)
        fix = _fix(foreign_format.fix, each, path)
        return FolderKind(foreign_format.name, foreign_format.sentence.format(found=shown), fix=fix)
    return None


def _data_set(folder: Path) -> FolderKind | None:
    found = DATA_SET.found(folder)
    if found is None:
        return None
    sentence = DATA_SET.sentence.format(found=found.relative_to(folder))
    return FolderKind(DATA_SET.name, sentence, fix=DATA_SET.fix)


def _cached(folder: Path) -> FolderKind | None:
    ids = cached_repositories(folder)
    if not ids:
        return None
    return FolderKind(
        "hub cache",
        f"a folder of the hub's cache, which keeps each commit in `snapshots/COMMIT` ({listed(ids)})",
        fix=f"give the id: `--model {ids[0]}`",
    )


def _around(folder: Path, inner: list[str]) -> FolderKind | None:
    if not inner:
        return None
    last = folder / inner[-1]
    steps_there = last.name.startswith("checkpoint-")
    pattern = f", or all of them: `--model '{last.parent}/checkpoint-*'`" if steps_there else ""
    steps = "the folder of a training, without weights of its own" if pattern else "a folder of checkpoints"
    return FolderKind(
        "training run",
        f"{steps}; inside: {', '.join(inner)}",
        fix=f"give one of them, such as `--model {last}`{pattern}",
    )


def _bare(folder: Path, config: Mapping[str, Any], weights: str) -> FolderKind:
    if not config:
        what = (
            "not a model folder" if weights else "not a model folder: weights, and nothing that says of what"
        )
        return FolderKind("no model", what, fix=_GIVE)
    fix = "fetch the checkpoint again, or convert it with `save_pretrained`"
    ids = (
        cached_repositories(folder.resolve().parent.parent)
        if folder.resolve().parent.name == "snapshots"
        else []
    )
    if ids:
        fix = f"see whether `{ids[0]}` has safetensors on the hub; if not, convert it with `save_pretrained`"
    return FolderKind(NO_WEIGHTS, f"a model folder without weights; {NO_PICKLES}", fix=fix)


def _checkpoint(folder: Path, config: Mapping[str, Any]) -> FolderKind:
    """A folder with a model's configuration and all of its weights."""
    heads = [header_of(folder / name) for name in shards(folder)]
    entries = {name: each for head in heads for name, each in head.items()}
    metadata = entries.get("__metadata__") or {}
    if metadata.get("format") == "mlx" or isinstance(config.get("quantization"), Mapping):
        return FolderKind(
            "MLX",
            "a model for MLX, whose weights are laid out in another way",
            (),
            "give the checkpoint that it was made from",
            "folder",
        )
    kinds = Counter(str(each.get("dtype")) for name, each in entries.items() if name != "__metadata__")
    sentence = f"a checkpoint of the family `{config['model_type']}`, " + ", ".join(
        each
        for each in (_origin(folder), *_traits(config, entries, len(heads), kinds), _quantised(folder))
        if each
    )
    missing = tuple(processor_parts(folder, folder))
    if missing:
        fix = processor_fix(folder, config)
        return FolderKind("model only", sentence, missing, fix, "processor", _steps(folder))
    return FolderKind(_name(folder), sentence, inner=_steps(folder))


def _traits(config: Mapping[str, Any], names: Iterable[str], files: int, kinds: Counter[str]) -> list[str]:
    found = ["weights in one file" if files == 1 else f"weights in {files} files"]
    found += [f"as {kinds.most_common(1)[0][0]}"] if kinds else []
    if "text_config" not in config and "num_hidden_layers" in config:
        found.append(
            "configured as before transformers 4.52 (the language model's settings at the top level)"
        )
    older = next(
        filter(None, (re.match(r"visual\.|model\.layers\.|language_model\.", each) for each in names)), None
    )
    if older:
        found.append(f"its weights under their older names (`{older[0]}`)")
    return found


def _quantised(folder: Path) -> str:
    method = quantisation(folder)
    return f"quantised by `{method}`" if method else ""


def _trained(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("training_args.bin", "trainer_state.json"))


def _nested(folder: Path) -> bool:
    path = folder / "processor_config.json"
    return path.is_file() and bool(read_json(path).get("image_processor"))


def _origin(folder: Path) -> str:
    if _trained(folder):
        return "from a training with transformers' Trainer"
    return "saved by transformers 5" if _nested(folder) else ""


def _name(folder: Path) -> str:
    if quantisation(folder):
        return "quantised"
    if _trained(folder):
        return "Trainer output"
    return "saved by transformers 5" if _nested(folder) else "hub layout"


def _parts(folder: Path, weights: str = "weights") -> tuple[str, ...]:
    """All that a folder lacks."""
    config = [] if (folder / CONFIG).is_file() else [CONFIG]
    return (*([weights] if weights else []), *config, *processor_parts(folder, folder))


def _weights(folder: Path) -> str:
    """What of the weights is missing, or nothing."""
    try:
        names = shards(folder)
    except EnvironmentProblem:
        return ""  # a damaged index is told where the files are chosen
    there = {path.name for path in folder.glob("*.safetensors") if path.is_file()}
    gone = [name for name in names if name not in there]
    if not gone:
        return ""
    others = f"; there is {listed(there)}" if there and not (folder / INDEX).is_file() else ""
    index = f" or {INDEX}" if gone == [SINGLE_WEIGHTS] and not (folder / INDEX).is_file() else ""
    return f"weights ({listed(gone)}{index}{others})"


def _holds_checkpoint(folder: Path) -> bool:
    whole = any((folder / name).is_file() for name in (SINGLE_WEIGHTS, INDEX)) and (folder / CONFIG).is_file()
    return folder.is_dir() and (whole or is_adapter(folder))


def _steps(folder: Path) -> tuple[str, ...]:
    """The checkpoints that a training left beside its last weights."""
    steps = sorted(folder.glob("checkpoint-*"), key=natural)
    return tuple(path.name for path in steps if _holds_checkpoint(path))


def _inner(folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in sorted(below(folder), key=natural)
        if _holds_checkpoint(path)
    ]


def natural(path: Path) -> list[list[tuple[int, str]]]:
    """A key to sort by that counts: ``checkpoint-500`` before ``checkpoint-1000``."""
    return [
        [(int(each), "") if each.isdecimal() else (-1, each) for each in re.split(r"([0-9]+)", part)]
        for part in path.parts
    ]


def _fix(text: str, folder: Path, path: Path) -> str:
    return text.format(
        folder=quote(str(folder)),
        plain=folder,
        folder_name=quote(folder.resolve().name),
        place=quote(str(path.parent)),
        file=path.name,
    )
