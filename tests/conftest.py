"""Fixtures that every test area uses."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine is slow now and then; a slow example is no wrong one.
settings.register_profile("evalkit", deadline=None)
settings.load_profile("evalkit")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection() -> None:
    """What is imported and collected stays to the end: nothing is gained by looking for garbage in it."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on only what tests make can be garbage: searches leave the rest out, and are fewer. They took
    a tenth of the suite.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000)


def pytest_unconfigure() -> None:
    """What libraries count at the interpreter's end is garbage as ever."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("EVALKIT_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"reference data not found at `{folder}` (set EVALKIT_SHARED)")
    return folder


@pytest.fixture(scope="session")
def lmms_found() -> str | None:
    """An interpreter with lmms-eval, if there is one."""
    built = ROOT / ".venv-lmms/bin/python"
    found = os.environ.get("EVALKIT_LMMS_PYTHON") or (str(built) if built.exists() else sys.executable)
    return found if _has_lmms(found) else None


# When lmms-eval starts, it reads 3,000 task files by PyYAML's parser. LibYAML's takes a tenth of the time.
LIBYAML = """
import yaml

if yaml.__with_libyaml__:

    class FullLoader(yaml.CFullLoader):
        def __init__(self, stream):
            super().__init__(stream)
            self.name = getattr(stream, "name", "<file>")

    yaml.FullLoader = yaml.loader.FullLoader = FullLoader
"""


@pytest.fixture(scope="session")
def lmms_python(lmms_found: str | None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with lmms-eval."""
    if lmms_found is None:
        pytest.skip("no interpreter has lmms-eval with decord: `make lmms`, or set EVALKIT_LMMS_PYTHON")
    folder = tmp_path_factory.mktemp("lmms_python")
    (folder / "sitecustomize.py").write_text(LIBYAML)
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="{folder}${{PYTHONPATH:+:$PYTHONPATH}}" exec "{lmms_found}" "$@"\n'
    )
    python.chmod(0o755)
    return str(python)


def _has_lmms(python: str) -> bool:
    """Whether an interpreter has lmms-eval, and the video reader that its own models import."""
    asked = "import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, ('lmms_eval', 'decord'))))"
    return subprocess.run([python, "-c", asked], check=False).returncode == 0


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """An interpreter with vLLM."""
    built = ROOT / ".venv-vllm"
    named = os.environ.get("EVALKIT_VLLM_PYTHON")
    if not named and not (built / ".ready").exists():
        pytest.skip("no environment with vLLM: `make vllm`, or set EVALKIT_VLLM_PYTHON")
    return named or str(built / "bin/python")


@pytest.fixture(scope="session")
def vllm_lmms_python(vllm_python: str) -> str:
    """An interpreter with vLLM and lmms-eval."""
    if not _has_lmms(vllm_python):
        pytest.skip(
            f"`{vllm_python}` has vLLM, but no lmms-eval with decord: `make vllm` makes one with both"
        )
    return vllm_python


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Media caches of tests and of the commands that they start go with the test session."""
    os.environ["EVALKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
