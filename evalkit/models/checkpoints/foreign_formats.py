"""Folders and files of other programs, by what lies in them: what they are, and what to do with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

_COPY = "then copy config.json, tokenizer and processor settings beside them"
_SAVE = (
    'convert it, which takes one command: `python -c "from transformers import AutoModelForImageTextToText '
    "as M; M.from_pretrained('{plain}', dtype='auto').save_pretrained('{plain}-safe')\"`, then copy "
    "tokenizer and processor settings into the new folder"
)
_OTHER_FORM = "give the checkpoint that it was made from, as safetensors"


@dataclass(frozen=True)
class ForeignFormat:
    """What a program leaves behind.

    Attributes:
        name: short.
        patterns: any of them in a folder gives it away.
        sentence: says what it is; ``{found}`` is what gave it away.
        fix: what to do; ``{folder}`` is the folder for a shell, ``{plain}`` inside of quotes, ``{place}`` the
            one that holds what was found.
    """

    name: str
    patterns: tuple[str, ...]
    sentence: str
    fix: str

    def found(self, folder: Path) -> Path | None:
        """What gives it away in a folder."""
        for pattern in self.patterns:
            first = min(folder.glob(pattern), default=None)
            if first is not None:
                return first
        return None


FOREIGN_FORMATS = (
    ForeignFormat(
        "verl",
        (
            "model_world_size_*_rank_*.pt",
            "actor/model_world_size_*_rank_*.pt",
            "global_step_*/actor/model_world_size_*_rank_*.pt",
        ),
        "a checkpoint of verl, whose weights lie in one pickled piece for each process ({found})",
        "merge it with `python -m verl.model_merger merge --backend fsdp --local_dir {place} "
        "--target_dir {folder}-merged`, and give `{folder}-merged`",
    ),
    ForeignFormat(
        "DeepSpeed ZeRO",
        ("zero_to_fp32.py",),
        "a checkpoint of DeepSpeed ZeRO, whose weights lie in one piece for each process",
        "merge them with the script that DeepSpeed left there: `python {folder}/zero_to_fp32.py {folder} "
        f"{{folder}}-merged --safe_serialization`; {_COPY}, and give `{{folder}}-merged`",
    ),
    ForeignFormat(
        "DeepSpeed ZeRO",
        ("global_step*/*_optim_states.pt", "global_step*/*_model_states.pt"),
        "a checkpoint of DeepSpeed ZeRO, whose weights lie in one piece for each process ({found})",
        "merge them with DeepSpeed's zero_to_fp32.py: `python -m deepspeed.utils.zero_to_fp32 {folder} "
        f"{{folder}}-merged --safe_serialization`; {_COPY}, and give `{{folder}}-merged`",
    ),
    ForeignFormat(
        "DeepSpeed ZeRO",
        ("*zero_pp_rank_*_states.pt", "*mp_rank_*_states.pt"),
        "the inside of a checkpoint of DeepSpeed ZeRO, one piece for each process ({found})",
        "merge them with DeepSpeed's zero_to_fp32.py, from the folder above: `python -m "
        "deepspeed.utils.zero_to_fp32 {folder}/.. {folder}-merged --tag {folder_name} --safe_serialization`; "
        f"{_COPY}, and give `{{folder}}-merged`",
    ),
    ForeignFormat(
        "Megatron",
        (
            "latest_checkpointed_iteration.txt",
            "iter_[0-9][0-9][0-9][0-9][0-9][0-9][0-9]/*",
            "mp_rank_*/*.pt",
            "common.pt",
        ),
        "a checkpoint of Megatron, in that program's own form ({found})",
        "convert it with the program that trained it (ms-swift: `swift export --mcore_model {folder} --to_hf "
        "true --output_dir {folder}-hf`; Megatron Bridge: `export_ckpt`), and give the new folder",
    ),
    ForeignFormat(
        "FSDP",
        ("pytorch_model_*/*.distcp", "pytorch_model_*/.metadata", "*.distcp", ".metadata", "*/*.distcp"),
        "a checkpoint of FSDP, whose weights lie in one piece for each process ({found})",
        f"merge them: `accelerate merge-weights {{place}} {{folder}}-merged`; {_COPY}, and give "
        "`{folder}-merged`",
    ),
    ForeignFormat(
        "FSDP",
        ("pytorch_model_fsdp*.bin",),
        "a checkpoint of FSDP, with pickled weights ({found})",
        'write them as safetensors: `python -c "import torch; from transformers import '
        "AutoModelForImageTextToText as M; m = M.from_pretrained('BASE', dtype='auto'); "
        "m.load_state_dict(torch.load('{plain}/{file}', weights_only=True)); "
        "m.save_pretrained('{plain}-safe')\"` with the model that it was trained from as BASE, then copy "
        "tokenizer and processor settings there",
    ),
    ForeignFormat(
        ".bin",
        ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
        "a checkpoint with pickled weights ({found}); evalkit reads safetensors only, since pickles can run "
        "code",
        _SAVE,
    ),
    ForeignFormat(
        "part of a LLaVA",
        ("mm_projector.bin", "non_lora_trainables.bin"),
        "a checkpoint of the original LLaVA's trainer, which holds a part of the weights only ({found})",
        "merge it with the program that trained it, and convert the whole to the form of `llava-hf`",
    ),
    ForeignFormat("GGUF", ("*.gguf",), "a model for llama.cpp, in the GGUF form ({found})", _OTHER_FORM),
    ForeignFormat("ONNX", ("*.onnx", "onnx/*.onnx"), "a model exported to ONNX ({found})", _OTHER_FORM),
    ForeignFormat("OpenVINO", ("openvino_*.xml",), "a model exported to OpenVINO ({found})", _OTHER_FORM),
    ForeignFormat("TensorRT", ("*.engine",), "a model compiled by TensorRT ({found})", _OTHER_FORM),
    ForeignFormat(
        "TensorFlow or Flax",
        ("tf_model*.h5", "flax_model*.msgpack", "*.tflite"),
        "a model of TensorFlow or Flax ({found})",
        _OTHER_FORM,
    ),
    ForeignFormat(
        "diffusion pipeline",
        ("model_index.json",),
        "a pipeline of diffusers ({found}), no language model",
        "give a vision-language model (`evalkit models`)",
    ),
    ForeignFormat(
        "pickled weights",
        ("consolidated*.pth", "*.ckpt", "model*.pt", "model*.pth", "model*.bin", "pytorch_model*.pt"),
        "a folder of pickled weights in another program's form ({found})",
        "convert it to safetensors with the program that wrote it, as transformers' `save_pretrained` does",
    ),
)
DATA_SET = ForeignFormat(
    "data set",
    ("*.parquet", "*/*.parquet", "dataset_info.json"),
    "a data set ({found}), no model",
    "give a checkpoint; mirrors of data sets go to `--data-root`",
)

_UNFINISHED = ("*.incomplete", "*.part", "*.aria2", "*.crdownload")
_POINTER = b"version https://git-lfs.github.com/spec/"


def foreign_format_of(folder: Path) -> tuple[ForeignFormat, Path] | None:
    """The first foreign_format that a folder has, and what gives it away."""
    for foreign_format in FOREIGN_FORMATS:
        found = foreign_format.found(folder)
        if found is not None:
            return foreign_format, found
    return None


def foreign_format_of_file(name: str) -> ForeignFormat | None:
    """The foreign_format that a file of this name would be of."""
    return next(
        (each for each in FOREIGN_FORMATS if any(fnmatch(name, pattern) for pattern in each.patterns)), None
    )


def unfinished(folder: Path) -> list[Path]:
    """What a download has left that didn't come to its end, in a folder or for a snapshot in the cache."""
    found = [path for pattern in _UNFINISHED for path in folder.glob(pattern)]
    found += (folder / ".cache" / "huggingface" / "download").rglob("*.incomplete")
    if folder.resolve().parent.name == "snapshots":
        found += (folder.resolve().parent.parent / "blobs").glob("*.incomplete")
    return sorted([*found, *(path for path in folder.iterdir() if path.is_symlink() and not path.exists())])


def pointers(folder: Path) -> list[str]:
    """Files of a checkpoint that `git clone` without Git LFS has left as pointers, about 130 bytes of text;
    what is not read, such as pickled weights beside others, may stay so.
    """
    read = {".safetensors", ".json", ".jinja", ".model", ".txt"}
    if not any(folder.glob("*.safetensors")):
        read |= {".bin", ".gguf", ".pth", ".pt"}
    return sorted(path.name for path in folder.iterdir() if path.suffix in read and _is_pointer(path))


def _is_pointer(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > 1024:
            return False
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def cached_repositories(folder: Path) -> list[str]:
    """Ids of the models whose folders in the hub's cache this one is, or holds."""
    named = [folder.resolve(), *folder.glob("models--*"), *folder.glob("hub/models--*")]
    own = [path for path in named if path.name.startswith("models--") and (path / "snapshots").is_dir()]
    return [path.name.removeprefix("models--").replace("--", "/") for path in sorted(own)]


def below(folder: Path, depth: int = 3, most: int = 1000) -> Iterator[Path]:
    """Folders inside a folder, the nearest first; not all of a deep or wide one."""
    level, seen = [folder], 0
    for _ in range(depth):
        nearer, level = level, []
        for each in nearer:
            try:
                inside = sorted(path for path in each.iterdir() if path.is_dir())
            except OSError:
                continue
            for path in inside:
                seen += 1
                if seen > most:
                    return
                yield path
                level.append(path)
