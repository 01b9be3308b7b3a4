"""``evalkit doctor``: what this machine has of what evalkit needs, and how to get what it lacks."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from evalkit.core import provenance
from evalkit.core.atomic_files import PREFIX
from evalkit.core.errors import EvalkitError
from evalkit.data.cache import cache_root
from evalkit.data.hub_access import unreachable

State = Literal["ok", "note", "failed"]

PYTHON = (3, 11)
LITTLE = 5 << 30
"""Bytes on a disk below which it is said."""

RESULTS = Path("results")
"""Where runs go without `--output`."""

EXTRAS = {  # the extra's name -> a package that it brings
    "decord": "decord",
    "torchcodec": "torchcodec",
    "inspect": "inspect_ai",
    "lmms": "lmms_eval",
    "peft": "peft",
    "plots": "matplotlib",
    "ray": "ray",
    "sharded": "accelerate",
    "vllm": "vllm",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``note`` is something to know, ``failed`` keeps evalkit from running;
    ``fix`` is what to do about it.
    """

    name: str
    state: State
    found: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at Python, packages, GPU, video decoding, extras, folders, disks and the hub; nothing is left."""
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _gpu,
        _video,
        _extras,
        _folders,
        _hub,
    )
    return [each for look in looks for each in look()]


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info[:2] < PYTHON:
        yield Finding("Python", "failed", version, "uv venv --python 3.12, and install evalkit there")
    else:
        cores = provenance.usable_cores()
        yield Finding("Python", "ok", f"{version} on {platform.system()} {platform.machine()}, {cores} cores")


def _packages() -> Iterator[Finding]:
    newer = {note.split()[0]: note for note in provenance.untested()}
    try:
        provenance.refuse_untried()
        old = None
    except EvalkitError as error:
        old = error
    for package in provenance.TESTED:
        found = provenance.versions().get(package)
        if found is None:
            yield Finding(package, "failed", "not installed", f"pip install {package}")
        elif old is not None and old.what.startswith(f"{package} "):
            yield Finding(package, "failed", f"{found}: {old.why}", old.fix.strip("`"))
        elif package in newer:
            yield Finding(package, "note", newer[package])
        else:
            yield Finding(package, "ok", found)


def _gpu() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
        yield Finding("GPU", "ok", f"{', '.join(names)} (CUDA {torch.version.cuda})")
        return
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    if not driver:
        yield Finding("GPU", "note", "none: models run on the processor")
    elif torch.version.cuda is None:
        fix = "pip install --force-reinstall torch, in the build for your driver's CUDA"
        yield Finding(
            "GPU", "failed", f"there is a driver, but torch {torch.__version__} is built without CUDA", fix
        )
    else:
        fix = "nvidia-smi says what the driver sees; CUDA_VISIBLE_DEVICES may hide all GPUs"
        yield Finding("GPU", "failed", f"torch is built for CUDA {torch.version.cuda} and sees no GPU", fix)


def _video() -> Iterator[Finding]:
    """PyAV brings its FFmpeg; a clip is encoded and read again."""
    try:
        av = importlib.import_module("av")
        from evalkit.zoo.clip_check import decoded_frames

        frames = decoded_frames()
    except Exception as error:  # noqa: BLE001 - whatever a broken library raises
        yield Finding(
            "FFmpeg", "failed", f"{type(error).__name__}: {error}", "pip install --force-reinstall av"
        )
        return
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    yield Finding("FFmpeg", "ok", f"PyAV {av.__version__}, libavcodec {codec}: {frames} frames decoded")


def _extras() -> Iterator[Finding]:
    for extra, package in EXTRAS.items():
        install = f"pip install 'evalkit[{extra}]'"
        if importlib.util.find_spec(package) is None:
            yield Finding(f"extra {extra}", "note", "not installed", install)
            continue
        version = _version(package)
        if package == "torchcodec":
            try:
                importlib.import_module("torchcodec.decoders")
            except (ImportError, OSError, RuntimeError):
                why = f"{version}, but FFmpeg's shared libraries are not found"
                yield Finding(f"extra {extra}", "note", why, "apt-get install ffmpeg")
                continue
        yield Finding(f"extra {extra}", "ok", version)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "installed"


def _folders() -> Iterator[Finding]:
    """Whether folders can be written that commands write, and how much room there is."""
    places = (
        ("cache", cache_root(), "failed", "set EVALKIT_CACHE to a folder that can be written"),
        (
            "output",
            RESULTS.absolute(),
            "failed",
            "work in a folder that can be written, or give `--output DIR`",
        ),
        ("hub's cache", _hub_cache(), "note", "set HF_HOME to a folder that can be written"),
        ("folder above", Path.cwd().parent, "note", "keep runs and mirrors below the working folder"),
    )
    for name, place, state, fix in places:
        there = next(each for each in (place, *place.parents) if each.exists())
        try:
            with tempfile.TemporaryDirectory(dir=there, prefix=PREFIX):
                pass
            free = shutil.disk_usage(there).free
        except OSError as error:
            found = f"`{place}` can't be written: {error.strerror or error}"
            yield Finding(name, "failed" if state == "failed" else "note", found, fix)
            continue
        words = f"`{place}`, {free / 2**30:.0f} GiB free"
        yield (
            Finding(name, "note", words, f"free some space; {fix}")
            if free < LITTLE
            else Finding(name, "ok", words)
        )


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _hub() -> Iterator[Finding]:
    reason = unreachable()
    token = "a token is set" if os.environ.get("HF_TOKEN") else "no HF_TOKEN"
    if reason is None:
        yield Finding("hub", "ok", f"reachable; {token}")
    else:
        fix = "where there is a network: evalkit data pull TASKS --data-root DIR; then give `--data-root DIR`"
        yield Finding("hub", "note", reason, fix)
