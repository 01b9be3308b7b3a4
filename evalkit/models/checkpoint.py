"""Checkpoint folders without torch: which files are read, and are they whole?

Hashing and loading go by :func:`checkpoint_files` alone, and a folder in which another reader could find
other weights than these is refused.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import EnvironmentProblem

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
GENERATION = "generation_config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

NO_PICKLES = "evalkit reads safetensors only, since pickled weights can run code"

# What transformers' tokenizer and our preprocessors may read.
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.json",
    "chat_template.jinja",
)
# Templates beside the default one, as transformers' `CHAT_TEMPLATE_DIR`.
TEMPLATES = "additional_chat_templates/*.jinja"
PROCESSOR = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")

# What peft calls its parameters, and the parts of a model that it wraps.
_ADAPTED = re.compile(
    r"^base_model\.model\.|(^|\.)(lora_|base_layer\.|original_module\.|modules_to_save\.|hada_|lokr_|ia3_|oft_"
    r"|boft_|vera_|vblora_|fourierft_|hra_|randlora_|trainable_tokens_|adaption_|prompt_encoder)"
)


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of a checkpoint that are read, and no others.

    Attributes:
        folder: holds the configuration and the weights.
        weights: safetensors files; ``index`` says which they are, if there are several.
        text: folder of the tokenizer and the chat template.
        pixels: folder of the image and video processor's settings.
        adapter: folder of the adapter to be merged into the weights.
    """

    folder: Path
    weights: tuple[Path, ...]
    index: Path | None
    text: Path
    pixels: Path
    adapter: Path | None = None

    @property
    def groups(self) -> Mapping[str, tuple[Path, ...]]:
        """All of them, by what they are."""
        index = () if self.index is None else (self.index,)
        adapter = (
            [] if self.adapter is None else _there(self.adapter, (ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG))
        )
        return {
            "weights": (*index, *self.weights),
            "config": tuple(_there(self.folder, (CONFIG,))),
            "generation config": tuple(_there(self.folder, (GENERATION,))),
            "tokenizer": tuple(_text_files(self.text)),
            "processor": tuple(_there(self.pixels, PROCESSOR)),
            "adapter": tuple(adapter),
        }

    def processor_groups(self, text: Path, pixels: Path) -> Sequence[tuple[Path, Sequence[Path]]]:
        """The files that say how prompts and pixels are made, by the folder that they lie in."""
        return (
            (self.folder, _there(self.folder, (CONFIG,))),
            (text, _text_files(text)),
            (pixels, _there(pixels, PROCESSOR)),
        )

    @property
    def all(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(path.absolute() for group in self.groups.values() for path in group)

    def state(self) -> tuple[object, ...]:
        """What changes when one of the files does.

        Raises:
            EnvironmentProblem: one is gone.
        """
        try:
            found = [(path, path.stat()) for path in self.all]
        except OSError as error:
            raise _damaged(Path(str(error.filename)), str(error.strerror)) from None
        return tuple(
            (path, each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for path, each in found
        )


def checkpoint_files(folder: Path, adapter: Path | None = None) -> CheckpointFiles:
    """The files of a folder that ``save_pretrained`` wrote, which whoever loads it has to take; with an
    ``adapter`` for these weights, its tokenizer and processor settings come first, if it has its own.

    Raises:
        EnvironmentProblem: weights are missing, damaged or cut short; there are several, or an adapter's
            among them, so that it is not clear which are meant.
    """
    index = folder / INDEX if (folder / INDEX).is_file() else None
    names = [WHOLE] if index is None else _shards(index)
    _check_unambiguous(folder, names)
    weights = tuple(folder / name for name in names)
    _check_names(weights)
    config = read_config(folder)
    # transformers goes by this name before any other.
    if config.get("transformers_weights") not in (None, INDEX if index else WHOLE):
        raise _ambiguous(
            folder,
            f"its config.json names other weights, `{config['transformers_weights']}`",
            "remove that line",
        )
    text = _first(adapter, folder, TOKENIZER, ("tokenizer.json",))
    pixels = _first(adapter, folder, PROCESSOR, ("preprocessor_config.json", "processor_config.json"))
    return CheckpointFiles(folder, weights, index, text, pixels, adapter)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no weights of a whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and not _whole_weights(folder)


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's ``config.json``.

    Raises:
        EnvironmentProblem: it is missing or unreadable.
    """
    if not (folder / CONFIG).is_file():
        raise EnvironmentProblem(
            f"`{folder}` is not a model folder",
            "it holds no config.json",
            "give the folder that `save_pretrained` wrote",
        )
    return read_json(folder / CONFIG)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        EnvironmentProblem: it is unreadable, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"`{path}` can't be read", str(error), "fetch the checkpoint again"
        ) from None
    if not isinstance(content, dict):
        raise EnvironmentProblem(
            f"`{path}` can't be read", "it holds no JSON object", "fetch the checkpoint again"
        )
    return content


def tensors_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file: an 8-byte length, a JSON header, and as many
    bytes as the header says.

    Raises:
        EnvironmentProblem: it is damaged or cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise _damaged(path, f"it is {size} bytes long, less than its own header says")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            ends = [entry["data_offsets"][1] for entry in header.values()]
            shapes = {str(name): tuple(map(int, entry["shape"])) for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise _damaged(path, "its header is not that of a safetensors file") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise _damaged(path, f"it is {size} bytes long instead of {expected}")
    return shapes


def _shards(index: Path) -> list[str]:
    """The files that a weight index names."""
    try:
        names = sorted({str(name) for name in read_json(index)["weight_map"].values()})
    except (KeyError, AttributeError) as error:
        raise _damaged(index, f"it is not a weight index ({error})") from None
    strange = [name for name in names if Path(name).name != name]
    if strange or not names:
        raise _damaged(index, f"it names `{strange[0]}`" if strange else "it names no file")
    return names


def _check_unambiguous(folder: Path, names: list[str]) -> None:
    """All weights that lie in a folder are those that are meant, and none is missing."""
    found = {path.name for path in folder.glob("*.safetensors")}
    adapter = [name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if (folder / name).exists()]
    if adapter and _whole_weights(folder):
        raise _ambiguous(
            folder,
            f"it holds an adapter ({', '.join(adapter)}) beside the weights of a whole model, and nothing "
            "says whether these have it in them",
            f"move the adapter into a folder of its own and give `{folder}+ADAPTER`, or delete it",
        )
    for name in names:
        if name not in found:
            others = f"; it holds {_listed(found)}" if found else ""
            raise EnvironmentProblem(
                f"the weights of `{folder}` are missing",
                f"there is no {name}{others}; {NO_PICKLES}",
                "fetch the checkpoint again, or convert it with `save_pretrained`",
            )
    strays = found.difference(names)
    if strays:
        source = f"its index names {_listed(names)}" if names != [WHOLE] else f"it holds {WHOLE}"
        raise _ambiguous(
            folder,
            f"{source}, and there is {_listed(strays)} as well: nothing says which are meant",
            "delete those of another save, or move them elsewhere",
        )


def _check_names(weights: Iterable[Path]) -> None:
    """Every tensor is there once, and none belongs to an adapter."""
    seen: dict[str, Path] = {}
    for path in weights:
        names = tensors_of(path)
        twice = next((name for name in names if name in seen), None)
        if twice:
            raise _ambiguous(
                path.parent,
                f"`{twice}` lies in {seen[twice].name} and in {path.name}",
                "fetch the checkpoint again",
            )
        seen |= dict.fromkeys(names, path)
    adapted = [name for name in seen if _ADAPTED.search(name)]
    if adapted:
        raise EnvironmentProblem(
            f"the weights of `{seen[adapted[0]].parent}` have an adapter's tensors in them",
            f"{len(adapted)} of {len(seen)}, such as `{adapted[0]}`: without peft they would be left out",
            "merge them (`merge_and_unload`) before `save_pretrained`, or give the adapter alone",
        )


def _whole_weights(folder: Path) -> bool:
    """Whether a folder holds weights that are no adapter's."""
    names = (*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin"), folder / INDEX)
    return any(path.is_file() for path in names)


def _first(adapter: Path | None, base: Path, names: tuple[str, ...], needed: tuple[str, ...]) -> Path:
    """The folder whose files of one kind are taken: all of them come from one."""
    own = [] if adapter is None else _there(adapter, names)
    if adapter is None or not own:
        return base
    if not _there(adapter, needed):
        raise _ambiguous(
            adapter,
            f"it has {own[0].name} of its own but no {needed[0]}, and files of two folders can't be mixed",
            f"copy {needed[0]} into it, or remove {own[0].name}",
        )
    return adapter


def _text_files(folder: Path) -> list[Path]:
    return [*_there(folder, TOKENIZER), *sorted(folder.glob(TEMPLATES))]


def _there(folder: Path, names: Iterable[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def _listed(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _ambiguous(folder: Path, why: str, fix: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"checkpoint `{folder}` is ambiguous", why, fix)


def _damaged(path: Path, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"checkpoint file `{path}` is damaged", why, "fetch the checkpoint again")
