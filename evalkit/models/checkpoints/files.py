"""Which files of a checkpoint folder are read, and whether they are whole; without torch.

Hashing and loading use :func:`checkpoint_files` alone; a folder in which another reader could find other
weights is refused.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.core.errors import EnvironmentProblem

SINGLE_WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
METADATA = "__metadata__"
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

# Forms of a tokenizer, each with all of its files.
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("tokenizer.model",))

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
        notes: sentences about this choice to print with a run.
    """

    folder: Path
    weights: tuple[Path, ...]
    index: Path | None
    text: Path
    pixels: Path
    adapter: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> Mapping[str, tuple[Path, ...]]:
        """All of them, by what they are."""
        index = () if self.index is None else (self.index,)
        adapter = (
            [] if self.adapter is None else _there(self.adapter, (ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG))
        )
        # A tokenizer that was saved alone may have no chat template for media: the processor's is taken.
        lent = [] if self.text == self.pixels else _text_files(self.pixels)
        return {
            "weights": (*index, *self.weights),
            "config": tuple(_there(self.folder, (CONFIG,))),
            "generation config": tuple(_there(self.folder, (GENERATION,))),
            "tokenizer": tuple(_text_files(self.text)),
            "processor": (*_there(self.pixels, PROCESSOR), *lent),
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
        """Sizes, times and inodes of the files, which change when one of them does.

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


def checkpoint_files(
    folder: Path, adapter: Path | None = None, processor: Path | None = None
) -> CheckpointFiles:
    """The files of a folder that ``save_pretrained`` wrote. With an ``adapter`` for these weights, its
    tokenizer and processor settings come first, if it has its own; ``processor`` is a folder that lends those
    that are missing.

    Raises:
        EnvironmentProblem: weights are missing, damaged or cut short; there are several, or an adapter's
            among them, so that it is not clear which are meant.
    """
    index = folder / INDEX if (folder / INDEX).is_file() else None
    names = shards(folder)
    _check_unambiguous(folder, names)
    weights = tuple(folder / name for name in names)
    _check_names(weights)
    config = read_config(folder)
    # transformers goes by this name before any other.
    if config.get("transformers_weights") not in (None, INDEX if index else SINGLE_WEIGHTS):
        raise _ambiguous(
            folder,
            f"its config.json names other weights, `{config['transformers_weights']}`",
            "remove that line",
        )
    if adapter is None and processor is None:
        return CheckpointFiles(folder, weights, index, folder, folder)
    own = (folder,) if adapter is None else (adapter, folder)
    text = _owner(own, TOKENIZER, has_tokenizer, "tokenizer.json") or processor or folder
    pixels = _owner(own, PROCESSOR, has_settings, "preprocessor_config.json") or processor or folder
    return CheckpointFiles(folder, weights, index, text, pixels, adapter)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a whole tokenizer, in any form that transformers reads."""
    return any(len(_there(folder, names)) == len(names) for names in _TOKENIZERS)


def has_template(folder: Path) -> bool:
    """Whether a folder holds a chat template.

    Raises:
        EnvironmentProblem: a file that may hold it is unreadable.
    """
    if _there(folder, ("chat_template.jinja", "chat_template.json")) or any(folder.glob(TEMPLATES)):
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(read_json(path).get("chat_template"))


def has_settings(folder: Path) -> bool:
    """Whether a folder holds settings for images: in a file of their own, or as transformers 5 saves them
    among those of the whole processor.

    Raises:
        EnvironmentProblem: a file that may hold them is unreadable.
    """
    nested = folder / "processor_config.json"
    return (folder / "preprocessor_config.json").is_file() or (
        nested.is_file() and bool(read_json(nested).get("image_processor"))
    )


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no weights of a whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and not whole_weights(folder)


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
    except (OSError, ValueError, RecursionError) as error:
        raise EnvironmentProblem(
            f"`{path}` can't be read", str(error), "fetch the checkpoint again"
        ) from None
    if not isinstance(content, dict):
        raise EnvironmentProblem(
            f"`{path}` can't be read", "it holds no JSON object", "fetch the checkpoint again"
        )
    return content


def tensors_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file.

    Raises:
        EnvironmentProblem: it is damaged or cut short.
    """
    header = header_of(path)
    return {name: tuple(map(int, each["shape"])) for name, each in header.items() if name != METADATA}


def header_of(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: an 8-byte length, a JSON header, and as many bytes as that says.

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
            header: dict[str, Any] = json.loads(file.read(length))
            tensors = [entry for name, entry in header.items() if name != METADATA]
            ends = [entry["data_offsets"][1] for entry in tensors]
            numbers = [*ends, *(side for entry in tensors for side in entry["shape"])]
            if any(type(number) is not int or number < 0 for number in numbers):
                raise ValueError("a size is no whole number")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            raise _damaged(path, "its header is not that of a safetensors file") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise _damaged(path, f"it is {size} bytes long instead of {expected}")
    return header


def shards(folder: Path) -> list[str]:
    """Names of the files of weights that a folder should hold: those of its index, or the only one without.

    Raises:
        EnvironmentProblem: the index is damaged.
    """
    index = folder / INDEX
    if not index.is_file():
        return [SINGLE_WEIGHTS]
    try:
        names = sorted({str(name) for name in read_json(index)["weight_map"].values()})
    except (KeyError, AttributeError) as error:
        raise _damaged(index, f"it is not a weight index ({error})") from None
    strange = [name for name in names if Path(name).name != name]
    if strange or not names:
        raise _damaged(index, f"it names `{strange[0]}`" if strange else "it names no file")
    return names


def _check_unambiguous(folder: Path, names: list[str]) -> None:
    """Check that all weights in a folder are the ones to load, and that none is missing."""
    found = {path.name for path in folder.glob("*.safetensors")}
    adapter = [name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if (folder / name).exists()]
    if adapter and whole_weights(folder):
        raise _ambiguous(
            folder,
            f"it holds an adapter ({', '.join(adapter)}) beside the weights of a whole model, and nothing "
            "says whether these have it in them",
            f"move the adapter into a folder of its own and give `{folder}+ADAPTER`, or delete it",
        )
    for name in names:
        if name not in found:
            others = f"; it holds {listed(found)}" if found else ""
            raise EnvironmentProblem(
                f"the weights of `{folder}` are missing",
                f"there is no {name}{others}; {NO_PICKLES}",
                "fetch the checkpoint again, or convert it with `save_pretrained`",
            )
    strays = found.difference(names)
    if strays:
        source = (
            f"its index names {listed(names)}" if names != [SINGLE_WEIGHTS] else f"it holds {SINGLE_WEIGHTS}"
        )
        raise _ambiguous(
            folder,
            f"{source}, and there is {listed(strays)} as well: nothing says which are meant",
            "delete those of another save, or move them elsewhere",
        )


def _check_names(weights: Iterable[Path]) -> None:
    """Check that every tensor is there once, and that none belongs to an adapter."""
    seen: dict[str, Path] = {}
    for path in weights:
        names = tensors_of(path)
        empty = next((name for name, shape in names.items() if 0 in shape), None)
        if empty:
            raise EnvironmentProblem(
                f"the weights of `{path.parent}` are missing",
                f"`{empty}` in {path.name} is empty, as DeepSpeed ZeRO 3 leaves it: the weights lie in one "
                "piece for each process",
                "merge them with the script that DeepSpeed left beside them, zero_to_fp32.py",
            )
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


def whole_weights(folder: Path) -> bool:
    """Whether a folder holds weights that are no adapter's."""
    names = (*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin"), folder / INDEX)
    return any(path.is_file() for path in names)


def _owner(
    folders: Iterable[Path], names: tuple[str, ...], whole: Callable[[Path], bool], needed: str
) -> Path | None:
    """The first folder that has files of one kind: all of them come from one."""
    for folder in folders:
        own = _there(folder, names)
        if own and not whole(folder):
            raise _ambiguous(
                folder,
                f"it has {own[0].name} of its own but no {needed}, and files of two folders can't be mixed",
                f"copy {needed} into it, or remove {own[0].name}",
            )
        if own:
            return folder
    return None


def _text_files(folder: Path) -> list[Path]:
    return [*_there(folder, TOKENIZER), *sorted(folder.glob(TEMPLATES))]


def _there(folder: Path, names: Iterable[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def listed(names: Iterable[str]) -> str:
    """Three of some names, and how many more there are."""
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _ambiguous(folder: Path, why: str, fix: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"checkpoint `{folder}` is ambiguous", why, fix)


def _damaged(path: Path, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"checkpoint file `{path}` is damaged", why, "fetch the checkpoint again")
