"""House rules about importing: no side effects, no heavy libraries, quick answers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "datasets", "pandas", "scipy", "av", "decord", "torchcodec", "pycocotools")

# Imports every module of the package with the doors to the outside world watched: whatever evalkit's
# own frames do there while they are imported is a side effect.
PROBE = """
import builtins, importlib, json, os, pkgutil, socket, sys, warnings
import torch._dynamo, transformers  # their own side effects are not ours
import evalkit
caught = []
def ours():
    frame = sys._getframe(2)
    return frame.f_globals.get("__name__", "").startswith("evalkit")
def watch(owner, name):
    real = getattr(owner, name)
    def watched(*args, **kwargs):
        if ours():
            caught.append(f"{name}{args[:1]}")
        return real(*args, **kwargs)
    setattr(owner, name, watched)
watch(builtins, "open")
watch(warnings, "filterwarnings")
watch(socket, "create_connection")
environ = dict(os.environ)
found = pkgutil.walk_packages(evalkit.__path__, "evalkit.")
modules = sorted(m.name for m in found if "__main__" not in m.name)
modules.remove("evalkit.integrations.lmms_eval.model")  # imported by lmms-eval alone, and needs it
for name in ("model", "processing"):  # imported in vLLM's processes alone
    modules.remove(f"evalkit.integrations.vllm.{name}")
for name in modules:
    importlib.import_module(name)
if dict(os.environ) != environ:
    caught.append("os.environ changed")
print(json.dumps({"caught": caught, "modules": modules}))
"""


def test_importing_any_module_has_no_side_effects() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["modules"]) > 30
    assert found["caught"] == []


@pytest.mark.parametrize(
    "statement", ["import evalkit", "import evalkit.cli", "import evalkit.core.registry"]
)
def test_light_imports_load_nothing_heavy(statement: str) -> None:
    code = f"{statement}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [["--help"], ["tasks"], ["ropes"], ["models"], ["run", "--help"]])
def test_quick_commands_import_little(words: list[str]) -> None:
    """What makes them quick, whatever else the machine does: 510 modules at most today, 5,000 with torch."""
    code = f"import sys; from evalkit.cli import run_cli; assert run_cli({words!r}) == 0; "
    code += f"sys.stderr.write(repr((len(sys.modules), [m for m in {HEAVY!r} if m in sys.modules])))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, heavy = ast.literal_eval(done.stderr)
    assert heavy == []
    assert count < 800
