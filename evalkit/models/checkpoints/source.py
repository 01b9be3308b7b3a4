"""Where a checkpoint comes from: a folder, the zoo or the hub; with or without an adapter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.core.errors import EnvironmentProblem, UsageError, did_you_mean
from evalkit.data.hub_access import unreachable
from evalkit.models.checkpoints.files import CheckpointFiles, is_adapter, read_config
from evalkit.models.checkpoints.folder_kind import check_folder, describe_folder
from evalkit.models.checkpoints.peft_adapters import base_of, check_base, read_adapter
from evalkit.models.checkpoints.processor_source import ProcessorSource, files_with
from evalkit.models.checkpoints.rope_marker import marked_variant
from evalkit.rope.variants import parse_variant

ZOO = ("tiny",)

# What a checkpoint may consist of. No pickled weights and no Python: nothing untrusted is executed.
LENT_FILES = ("*.json", "*.txt", "*.jinja", "*.model")
HUB_FILES = (*LENT_FILES, "*.safetensors")

_HUB_ID = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w./-]+))?")
_STEP = re.compile(r"(checkpoint|(global[-_]?)?step|epoch|iter)[-_]?\d+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Source:
    """Folders of a checkpoint on this machine.

    Attributes:
        folder: holds the configuration and the weights; ``adapter`` what is to be merged into them.
        base: what the user or the adapter calls the model in ``folder``.
        processor_source: lends tokenizer and processor settings where these folders have none.
    """

    folder: Path
    adapter: Path | None = None
    base: str = ""
    processor_source: ProcessorSource | None = None

    def revision(self, read: CheckpointFiles) -> str | None:
        """See :class:`evalkit.models.base.ModelInfo`."""
        found = [_commit(each) for each in (self.folder, self.adapter) if each is not None]
        lent = (
            _commit(self.processor_source.folder)
            if self.processor_source and self.processor_source.gives(read)
            else None
        )
        if not any(found) and lent is None:
            return None
        return "+".join([*(each or "local" for each in found), *([f"processor:{lent}"] if lent else [])])

    @property
    def rope(self) -> Any:
        """The variant that the checkpoint says it was trained with, if it does.

        Raises:
            EnvironmentProblem: its configuration and its weights say different ones.
        """
        if self.adapter is not None and (self.adapter / "config.json").is_file():
            own = read_config(self.adapter).get("rope_variant")
            if own:
                return own
        own, marked = read_config(self.folder).get("rope_variant"), marked_variant(self.folder)
        if own and marked and not _same_variant(str(own), marked):
            raise EnvironmentProblem(
                f"checkpoint `{self.folder}` contradicts itself about its RoPE variant",
                f"config.json says `{own}`, a marker among the weights that it was trained with `{marked}`",
                f'put `"rope_variant": "{marked}"` into config.json',
            )
        return own or marked

    def files(self) -> CheckpointFiles:
        """The files that are read.

        Raises:
            UsageError: the checkpoint needs no processor from elsewhere, or it is of another family.
            EnvironmentProblem: they are missing, damaged or ambiguous.
        """
        if self.adapter is not None:
            check_base(self.adapter, self.folder)
        return files_with(self.folder, self.adapter, self.processor_source)


def _same_variant(one: str, other: str) -> bool:
    try:
        return parse_variant(one) == parse_variant(other)
    except ValueError:  # one from outside
        return one == other


def find(
    name: str, variant: str, processor: str | None = None, *, processor_if_needed: bool = False
) -> Source:
    """The checkpoint of a name: a folder, a model of the zoo (trained with ``variant``), a hub id with or
    without ``@revision``; an adapter by its own name, or as ``BASE+ADAPTER``. ``processor`` names a model
    that lends it what it lacks of tokenizer and processor settings.

    Raises:
        UsageError: there is none of this name, or evalkit runs none of its kind.
        EnvironmentProblem: it can't be downloaded, it is no whole checkpoint, or an adapter can't be used.
    """
    found = _find(name, variant)
    check_folder(found.folder, found.base or name)
    if processor is None:
        return found
    lent = _folder(processor, variant, LENT_FILES)
    return replace(found, processor_source=ProcessorSource(processor, lent, processor_if_needed))


def _find(name: str, variant: str) -> Source:
    pair = None if Path(name).expanduser().exists() else _pair(name)
    if pair is not None:
        adapter = _folder(pair[1], variant)
        if not is_adapter(adapter):
            _refuse_no_adapter(adapter)
        read_adapter(adapter)
        return _whole(_folder(pair[0], variant), adapter, pair[0])
    folder = _folder(name, variant)
    if not is_adapter(folder):
        return Source(folder)
    base = base_of(folder)
    try:
        whole = _folder(base, variant)
    except UsageError as error:
        raise UsageError(
            f"the base model `{base}` of adapter `{name}` can't be used",
            error.why,
            f"give both: `BASE+{name}`",
        ) from None
    return _whole(whole, folder, base)


def short_name(name: str) -> str:
    """What to call a model in tables: folders go by their own names, a training's steps by its name as well.

    >>> short_name("org/model"), short_name("mock:fixed=a+b")
    ('org/model', 'mock:fixed=a+b')
    """
    if Path(name).is_dir():
        path = Path(name).resolve()
        return f"{path.parent.name}/{path.name}" if _STEP.fullmatch(path.name) else path.name
    pair = None if name.startswith("mock") else _pair(name)
    return f"{short_name(pair[0])}+{short_name(pair[1])}" if pair else name


def _whole(folder: Path, adapter: Path, base: str) -> Source:
    if is_adapter(folder):
        raise UsageError(
            f"`{base}` is itself an adapter",
            "adapters are merged into whole weights, one at a time",
            "merge the first one and save the result",
        )
    return Source(folder, adapter, base)


def _pair(name: str) -> tuple[str, str] | None:
    """``BASE+ADAPTER``; a plus sign may be part of either name, so what is there decides.

    Raises:
        UsageError: it can be read in two ways.
    """
    places = [match.start() for match in re.finditer(r"\+", name)]
    pairs = [(name[:place], name[place + 1 :]) for place in places]
    found = [pair for pair in pairs if all(_may_be(part) for part in pair)]
    if len(found) > 1:
        raise UsageError(
            f"model `{name}` can be read in {len(found)} ways",
            f"as `{found[0][0]}` with the adapter `{found[0][1]}`, or `{found[1][0]}` with `{found[1][1]}`",
            "rename a folder",
        )
    return found[0] if found else None


def _may_be(name: str) -> bool:
    return name in ZOO or Path(name).expanduser().is_dir() or bool(_HUB_ID.fullmatch(name))


def _refuse_no_adapter(folder: Path) -> None:
    checkpoint = (folder / "config.json").is_file()
    raise UsageError(
        f"`{folder}` is no adapter",
        "it holds a whole model" if checkpoint else f"it is {describe_folder(folder).sentence}",
        "give `BASE+ADAPTER`, the adapter as peft's `save_pretrained` wrote it",
    )


def _folder(name: str, variant: str, files: Sequence[str] = HUB_FILES) -> Path:
    """The folder that holds a checkpoint, of which ``files`` are downloaded if need be."""
    if name in ZOO:
        from evalkit.zoo import resolve

        return resolve(name, variant)
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        kind = describe_folder(path)
        raise UsageError(f"model `{name}` is a file", f"it is {kind.sentence}", kind.fix)
    hub = _HUB_ID.fullmatch(name)
    if hub:
        return _download(hub[1], hub[2], files)
    siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    near = did_you_mean(path.name, [*siblings, *ZOO, "mock"])
    raise UsageError(
        f"model `{name}` not found",
        f"there is no such folder, and it is no hub id (`organisation/name`).{near}",
        "check the path, or see `evalkit models` for names",
    )


def _download(hub_id: str, revision: str | None, files: Sequence[str]) -> Path:
    """A snapshot of the commit that a revision is now; its folder is called by that commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    asked = hub_id if revision is None else f"{hub_id}@{revision}"
    offline = unreachable()
    try:
        return Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=list(files), local_files_only=offline is not None
            )
        )
    except GatedRepoError:
        why, fix = "the repository is gated", "accept its licence on the hub and log in with `hf auth login`"
    except RevisionNotFoundError:
        raise UsageError(
            f"model `{asked}` not found",
            "the repository has no such revision",
            "give a branch, tag or commit",
        ) from None
    except RepositoryNotFoundError:
        raise UsageError(
            f"model `{asked}` not found",
            "there is neither a folder nor a hub repository of that name (or it is private)",
            "check the spelling; for a private repository log in with `hf auth login`",
        ) from None
    except Exception as error:  # noqa: BLE001 - offline or no network; the hub's HTTP client changes
        reason = offline or f"the hub can't be reached ({type(error).__name__})"
        why = f"there is no folder of that name, it is not in the hub's cache, and {reason}"
        fix = "check the spelling and the network, or give the folder of a downloaded checkpoint"
    raise EnvironmentProblem(f"model `{asked}` can't be downloaded", why, fix)


def _commit(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache."""
    real = folder.resolve()
    return real.name if real.parent.name == "snapshots" and _COMMIT.fullmatch(real.name) else None
