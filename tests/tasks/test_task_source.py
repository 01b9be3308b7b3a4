"""What a task's source is: helpers by every way of importing one; metrics as data and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.core.registry import declared, load_task
from evalkit.core.task_source import files_digest, is_inside, read_source
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import MeanMetric
from evalkit.metrics.description import build_metric, metric_name, parameters_of

WAYS = {
    "import _h": {"_h.py"},
    "import _h as other, json": {"_h.py"},
    "from _h import x": {"_h.py"},
    "from . import _h": {"_h.py"},
    "from ._h import x": {"_h.py"},
    "from .. import _top": {"_top.py"},
    "import _top": {"_top.py"},
    "from _lib.deep import x": {"_lib/__init__.py", "_lib/deep.py", "_h.py"},
    "from _lib import deep": {"_lib/__init__.py", "_lib/deep.py", "_h.py"},
    "import importlib\nimportlib.import_module('_h')": {"_h.py"},
    "__import__('_h')": {"_h.py"},
    "def later():\n    import _h": {"_h.py"},
    "from pathlib import Path\nPath(__file__).with_name('_h.py')": {"_h.py"},
    "x = '../../outside.py'": set(),
    "import outside": set(),
    "import json, numpy": set(),
    "x = 'image'": set(),
    "x = 'a' * 3, 'no such\\0file.py'": set(),
}


@pytest.mark.parametrize("text", WAYS)
def test_helpers_are_found_without_executing(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    own = folder / "sub"
    (own / "_lib").mkdir(parents=True)
    for path in (own / "_h.py", folder / "_top.py", own / "_lib/__init__.py", tmp_path / "outside.py"):
        path.write_text("raise RuntimeError('executed')\n")
    (own / "_lib/deep.py").write_text("import _h\nimport _lib.deep\n")
    (own / "_h.py").write_text("import _h\n")  # one that imports itself
    (own / "mine.py").write_text(text)
    found = read_source(own / "mine.py", folder, "tasks-dir")
    expected = {name if name == "_top.py" else f"sub/{name}" for name in WAYS[text]}
    assert set(found.files) == {"sub/mine.py"} | expected
    assert found.digest == files_digest(found.files)
    (own / "mine.py").write_text(text + "\n")
    assert read_source(own / "mine.py", folder, "tasks-dir").digest != found.digest


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.binary(max_size=6), max_size=4))
def test_a_digest_tells_files_apart(files: dict[str, bytes]) -> None:
    assert files_digest(dict(reversed(files.items()))) == files_digest(files)
    for name in files:
        assert files_digest({**files, name: files[name] + b"x"}) != files_digest(files)
        assert files_digest({each: files[each] for each in files if each != name}) != files_digest(files)


def test_paths_that_lead_out() -> None:
    assert is_inside("a/b.py")
    assert not any(map(is_inside, ("../a.py", "/a.py", "a/../../b.py", "")))


@pytest.mark.parametrize("name", [info.name for info in declared()])
def test_every_metric_of_a_benchmark_is_data(name: str) -> None:
    metric = load_task(name).metric
    parameters = parameters_of(metric)
    assert parameters is not None
    assert build_metric(metric_name(metric), parameters) == metric


class Mine(MeanMetric):
    """Somebody's own."""


def test_another_metric_is_none() -> None:
    assert parameters_of(Mine()) is None
    for name in (
        "os:system",
        "evalkit.metrics.base:Scored",
        "evalkit.metrics.letters:mmstar",
        "evalkit.metrics.anls:math",
        "evalkit.metrics:nothing",
        "evalkit.metrics.description:importlib.import_module",
        "evalkit.core.atomic_files:write_atomic",
    ):
        with pytest.raises(ValueError, match="evalkit"):
            build_metric(name, {})
    for parameters in ({"threshold": {"function": "os:system"}}, {"other": 1}, {"threshold": {"x": 1}}):
        with pytest.raises(ValueError, match=r"evalkit|takes other|no parameter"):
            build_metric(metric_name(Anls()), parameters)
