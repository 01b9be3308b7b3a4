"""The registry of benchmarks: lists task files, built-in and users' own, and loads one.

A task file holds one module-level ``task = Task(name="...", category="...", ...)``, or several as
``tasks = (Task(...), Task(...))``; a call of a function that makes the task will do, too. Listing reads the
literals of these calls from the syntax tree and executes nothing; only the file of a task that runs is run.
"""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path, PurePosixPath
from types import CodeType
from typing import TYPE_CHECKING, Any, get_args

from evalkit.core.atomic_files import list_files
from evalkit.core.errors import UsageError, did_you_mean, of_file
from evalkit.core.task_source import Origin, TaskSource, read_source
from evalkit.core.types import Category

if TYPE_CHECKING:
    from evalkit.core.task import Task

# The 25 rows of the paper's comparison tables, in its order and by the names in
# results/reference; a task says which one it fills with `paper_row`.
PAPER_ROWS: Mapping[str, tuple[str, ...]] = {
    "image": (
        "MMMU",
        "MMBench_avg",
        "MMStar",
        "OCRBench",
        "AI2D",
        "RealWorldQA",
        "DocVQA",
        "TextVQA",
        "InfoVQA",
        "ChartQA",
        "BLINK",
    ),
    "video": ("MVBench", "STAR", "MLVU", "VideoMME", "LVBench", "Charades-STA"),
    "grounding": (
        "RefCOCO_val",
        "RefCOCO_testA",
        "RefCOCO_testB",
        "RefCOCO+_val",
        "RefCOCO+_testA",
        "RefCOCO+_testB",
        "RefCOCOg_val",
        "RefCOCOg_test",
    ),
}
CATEGORIES: tuple[str, ...] = get_args(Category)
DRAWN = frozenset({"mini", "probe", "probe-preset"})
"""Tags of tasks that are drawn on the spot; groups of categories leave them out."""
GROUPS = (*CATEGORIES, "paper", "mini", "probe")
_LITERALS = ("name", "category", "title", "tags", "paper_row")
_HOW = "see `evalkit tasks show chartqa` and the files in tasks/ for the form"


@dataclass(frozen=True)
class TaskInfo:
    """One declaration in a task file, read without executing it."""

    name: str
    category: str
    title: str
    path: Path
    tags: tuple[str, ...] = ()
    paper_row: str | None = None


def builtin_dir() -> Path:
    """The built-in task files: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_tasks"
    return inside if inside.is_dir() else package.parent / "tasks"


ENTRY_POINTS = "evalkit.tasks"
"""Entry points of installed packages: each names a package whose folder holds task files."""


@cache
def installed_dirs() -> tuple[Path, ...]:
    """The folders of task files that installed packages bring; no task file is executed.

    Raises:
        UsageError: an entry point names no package.
    """
    found: list[Path] = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            spec = importlib.util.find_spec(point.value)
        except (ImportError, ValueError):
            spec = None
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            name = point.dist.name if point.dist else point.name
            raise UsageError(
                f"entry point `{ENTRY_POINTS}: {point.name} = {point.value}` of `{name}`",
                "there is no package of that name",
                "install that package again, or remove it",
            )
        found += map(Path, places)
    return tuple(found)


def declared(tasks_dirs: Sequence[str] = ()) -> list[TaskInfo]:
    """Every task of the built-in folder, of installed packages and of ``tasks_dirs``, by category, then in
    the paper's order, then by name.

    Raises:
        UsageError: a folder does not exist, a file is no task, or two files share a name.
    """
    found: dict[str, TaskInfo] = {}
    for folder in (builtin_dir(), *installed_dirs(), *map(Path, tasks_dirs)):
        for info in (info for path in _task_files(folder) for info in _read(path)):
            path, other = info.path, found.setdefault(info.name, info)
            if other.path != path and other.path.resolve() != path.resolve():
                raise UsageError(
                    f"task `{info.name}`",
                    f"both `{other.path}` and `{path}` declare it",
                    "rename one of them",
                )
    return sorted(found.values(), key=_sort_key)


def resolve(patterns: Sequence[str], tasks_dirs: Sequence[str] = ()) -> list[str]:
    """Names of the tasks that match ``patterns``, in the order of these, each once.

    A pattern is a name, a glob (``refcoco*``), a group (``image``, ``video``, ``grounding``, ``paper``,
    ``mini``, ``probe``) or a comma list of these. The category groups leave out tasks that are drawn on
    the spot and splits without public answers.

    Raises:
        UsageError: a pattern matches nothing.
    """
    infos = declared(tasks_dirs)
    wanted = [part.strip() for pattern in patterns for part in pattern.split(",") if part.strip()]
    if not wanted:
        raise UsageError("no task given", "a run needs one", "add `--tasks mini`, or see `evalkit tasks`")
    return list(dict.fromkeys(name for pattern in wanted for name in _matches(pattern, infos)))


def load_task(name: str, tasks_dirs: Sequence[str] = ()) -> Task:
    """Execute the one file that declares ``name`` and return its task.

    Raises:
        UsageError: there is no such task, its file fails, or it is not what it declares to be.
    """
    infos = {info.name: info for info in declared(tasks_dirs)}
    if name not in infos:
        raise _unknown(name, list(infos))
    source = _source(infos[name], tasks_dirs)
    return _loaded(infos[name].path, name, source)


def task_source(name: str, tasks_dirs: Sequence[str] = ()) -> TaskSource | None:
    """The source of a task as it is now, without executing it; None if there is none of that name. Folders
    that don't exist are left out.

    Raises:
        UsageError: a file is no task, or two files share a name.
    """
    there = [folder for folder in tasks_dirs if Path(folder).is_dir()]
    info = next((each for each in declared(there) if each.name == name), None)
    return None if info is None else _source(info, there)


def load_stored_task(name: str, folder: Path, source: TaskSource) -> Task:
    """Execute a stored copy of a task's file, which is below ``folder``, and return its task.

    Raises:
        UsageError: it fails, or is not what it declares to be.
    """
    # A helper may be loaded already, from the place that it was copied from.
    names = {PurePosixPath(each).stem for each in source.files if each != source.file}
    before = {each: sys.modules.pop(each) for each in list(sys.modules) if each.partition(".")[0] in names}
    try:
        return _loaded(folder / source.file, name, source)
    finally:
        sys.modules.update(before)


def _source(info: TaskInfo, tasks_dirs: Sequence[str]) -> TaskSource:
    folders: list[tuple[Path, Origin]] = [(builtin_dir(), "built-in")]
    folders += [(each, "entry-point") for each in installed_dirs()]
    folders += [(Path(each), "tasks-dir") for each in tasks_dirs]
    folder, origin = next(each for each in folders if info.path.is_relative_to(each[0]))
    try:
        return read_source(info.path, folder, origin)
    except OSError as error:
        raise of_file(f"task file `{info.path}`", error, "give the right to read it") from None


def _loaded(path: Path, name: str, source: TaskSource) -> Task:
    from evalkit.core.dataset import RelativeSource
    from evalkit.core.task import Task

    module = load_module(path)
    made = [module.task] if hasattr(module, "task") else list(getattr(module, "tasks", ()))
    if not all(isinstance(each, Task) for each in made):
        raise _bad_file(path, "`task` is not an `evalkit.task.Task`", f"write `task = Task(...)`; {_HOW}")
    task: Task | None = next((each for each in made if each.name == name), None)
    if task is None:
        others = ", ".join(f"`{each.name}`" for each in made)
        raise _bad_file(path, f"it declares `{name}` and makes {others}", "name them alike")
    if isinstance(task.dataset, RelativeSource):
        task = replace(task, dataset=task.dataset.declared_in(path.parent))
    return replace(task, source=source)


def _matches(pattern: str, infos: Sequence[TaskInfo]) -> list[str]:
    if pattern in GROUPS:
        chosen = [info.name for info in infos if _in_group(info, pattern)]
        if not chosen:
            raise UsageError(
                f"task group `{pattern}`", "it is empty", "see `evalkit tasks` for what there is"
            )
        return chosen
    names = [info.name for info in infos]
    if any(character in pattern for character in "*?["):
        chosen = fnmatch.filter(names, pattern)
        if not chosen:
            raise UsageError(
                f"task pattern `{pattern}`", "no task's name matches it", "see `evalkit tasks` for the names"
            )
        return chosen
    if pattern not in names:
        raise _unknown(pattern, names)
    return [pattern]


def _in_group(info: TaskInfo, group: str) -> bool:
    if group == "paper":
        return info.paper_row is not None
    if group in ("mini", "probe"):
        return group in info.tags
    return info.category == group and not (DRAWN | {"submission"}).intersection(info.tags)


def _unknown(name: str, names: Sequence[str]) -> UsageError:
    return UsageError(
        f"unknown task `{name}`",
        f"no task or group has this name.{did_you_mean(name, [*names, *GROUPS])}",
        "see `evalkit tasks` for the names, and add `--tasks-dir` for your own",
    )


def _sort_key(info: TaskInfo) -> tuple[int, bool, int, str]:
    rows = PAPER_ROWS[info.category]
    row = rows.index(info.paper_row) if info.paper_row else len(rows)
    return CATEGORIES.index(info.category), not DRAWN.isdisjoint(info.tags), row, info.name


def _task_files(folder: Path) -> list[Path]:
    """All Python files below a folder, but those that a leading ``_`` or ``.`` marks as private, and those
    within runs, which hold copies of their tasks.
    """
    if not folder.is_dir():
        raise UsageError(f"tasks folder `{folder}`", "there is no such folder", "check `--tasks-dir`")
    found = list_files(folder, "*.py", deep=True)
    public = [p for p in found if not any(part[0] in "_." for part in p.relative_to(folder).parts)]
    above = {each for path in public for each in path.parents if each != folder and folder in each.parents}
    runs = {each for each in above if (each / "manifest.json").is_file()}
    return [path for path in public if runs.isdisjoint(path.parents)]


def _read(path: Path) -> tuple[TaskInfo, ...]:
    """Read the declarations of a file's tasks from its syntax tree."""
    state = path.stat()
    return _parsed(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)  # loading a task needs all declarations; a changed file has another state
def _parsed(path: Path, size: int, modified: int) -> tuple[TaskInfo, ...]:
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise _bad_file(path, f"syntax error{line}: {reason}", "correct it") from None
    infos = tuple(_info(path, call) for call in _calls(path, tree))
    names = [info.name for info in infos]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise _bad_file(path, f"it declares `{twice}` twice", "rename one of them")
    return infos


def _calls(path: Path, tree: ast.Module) -> list[ast.Call]:
    """The calls that make a file's tasks."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        value = getattr(node, "value", None)
        if "task" in names and isinstance(value, ast.Call):
            _check_name(path, value)
            return [value]
        if "tasks" in names and isinstance(value, ast.List | ast.Tuple):
            calls = [each for each in value.elts if isinstance(each, ast.Call)]
            if calls and len(calls) == len(value.elts):
                return calls
    raise _bad_file(
        path,
        "it has no `task = Task(...)`, nor `tasks = (Task(...), ...)`, at the top level",
        f"{_HOW}; give a file of helpers a name that starts with `_`",
    )


def _check_name(path: Path, call: ast.Call) -> None:
    """Make sure that the only task of a file has the file's name."""
    name = _literals(path, call).get("name")
    if name != path.stem:
        raise _bad_file(path, f"its `name` is `{name}`", f"name the task or the file alike: `{path.stem}`")


def _info(path: Path, call: ast.Call) -> TaskInfo:
    values = _literals(path, call)
    row, name, category = values.get("paper_row"), values.get("name"), values.get("category")
    if not isinstance(name, str) or not name:
        raise _bad_file(path, f"a task in line {call.lineno} has no `name`", "give it one")
    if name in GROUPS:
        raise _bad_file(path, f"`{name}` is the name of a group of tasks", "give the task another name")
    if category not in CATEGORIES:
        hint = did_you_mean(str(category), CATEGORIES)
        raise _bad_file(path, f"unknown category `{category}`.{hint}", f"use one of {', '.join(CATEGORIES)}")
    if row is not None and row not in PAPER_ROWS[category]:
        hint = did_you_mean(str(row), PAPER_ROWS[category])
        raise _bad_file(path, f"the paper has no {category} row `{row}`.{hint}", "leave `paper_row` out")
    tags = values.get("tags", ())
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise _bad_file(path, f"its `tags` are {tags!r}", 'write them as a tuple of texts: `("mini",)`')
    return TaskInfo(name, category, str(values.get("title", name)), path, tuple(tags), row)


def _literals(path: Path, call: ast.Call) -> dict[str, Any]:
    return {key.arg: _literal(path, key) for key in call.keywords if key.arg in _LITERALS}


def _literal(path: Path, keyword: ast.keyword) -> Any:
    try:
        return ast.literal_eval(keyword.value)
    except ValueError:
        raise _bad_file(
            path,
            f"`{keyword.arg}` in line {keyword.value.lineno} is computed",
            "write it as a plain value: tasks are listed without being executed",
        ) from None


class _SourceOnly(SourceFileLoader):
    """Compiles a file each time: a cached ``.pyc`` may be of an edit in the same second, or truncated."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def load_module(path: Path) -> Any:
    """Execute a task file.

    Raises:
        UsageError: it fails; says where and why.
    """
    # Dataclasses in a task file look their own module up, so it needs an entry of its own there.
    name = f"evalkit_task_{path.stem}_{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]}"
    loader = _SourceOnly(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        del sys.modules[name]
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = f"line {frames[-1].lineno}: " if frames else ""
        raise _bad_file(path, f"{line}{type(error).__name__}: {error}", "correct it") from error
    return module


def _bad_file(path: Path, why: str, fix: str) -> UsageError:
    return UsageError(f"task file `{path}`", why, fix)
