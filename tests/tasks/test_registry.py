import os
import subprocess
import sys

import pytest

from evalkit.core import registry
from evalkit.core.errors import ExitCode, UsageError
from evalkit.core.registry import DRAWN, PAPER_ROWS, builtin_dir, declared, load_task, resolve

TASK = """
from evalkit.task import HubDataset, Task, text

task = Task(
    name="{name}",
    category="{category}",
    title="My own",
    dataset=HubDataset("me/mine"),
    prompt=lambda row: (text(row["q"]),),
    reference=lambda row: row["a"],
    metric=None,
    max_new_tokens=8,
    id=lambda row: row["id"],
    cluster=lambda row: row["id"],
    tags=("private", "slow"),
)
"""


def write(folder, name="mine", category="image", source=TASK):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(source.format(name=name, category=category))
    return path


def usage_error(call, *arguments):
    with pytest.raises(UsageError) as caught:
        call(*arguments)
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value


def test_every_built_in_file_declares_what_it_is():
    infos = declared()
    assert {"docvqa_val", "chartqa", "mmmu_val", "refcoco_val", "videomme", "videomme_w_subtitle"} <= {
        info.name for info in infos
    }
    for info in infos:
        task = load_task(info.name)
        assert (task.name, task.category, task.title) == (info.name, info.category, info.title)
        assert (task.tags, task.paper_row) == (info.tags, info.paper_row)
        assert info.path.relative_to(builtin_dir()).parts[0] == task.category
        if DRAWN.isdisjoint(task.tags):
            assert task.size or "could not be verified" in task.notes
            assert task.citation
            assert task.licence != "unknown"


def test_paper_rows():
    assert [len(rows) for rows in PAPER_ROWS.values()] == [11, 6, 8]
    filled = [load_task(name).paper_row for name in resolve(["paper"])]
    # English and Chinese MMBench share a row.
    assert len(filled) == 26
    assert list(dict.fromkeys(filled)) == [row for rows in PAPER_ROWS.values() for row in rows]


def test_paper_rows_are_those_of_the_paper(shared):
    import json

    table = json.loads((shared / "specs/paper_tables.json").read_text())["table2_qwen2.5vl_7b"]
    assert {category: list(rows) for category, rows in PAPER_ROWS.items()} == {
        category: list(table[category]) for category in PAPER_ROWS
    }


def test_resolve_names_globs_groups_and_comma_lists():
    assert resolve(["chartqa", "chartqa,docvqa_val"]) == ["chartqa", "docvqa_val"]
    assert resolve(["refcoco_[vt]*"]) == ["refcoco_val", "refcoco_testA", "refcoco_testB"]
    grounding = resolve(["grounding"])
    assert {"refcoco_val", "refcoco_testA", "refcoco_testB"} <= set(grounding)
    assert not any(name.startswith("mini_") for name in grounding)
    assert resolve(["video"])[:4] == ["mvbench", "star_val", "mlvu_dev", "videomme"]
    assert "videomme_w_subtitle" not in resolve(["paper"])


def test_misspelt_names():
    error = usage_error(resolve, ["chartq"])
    assert "`chartq`" in error.what
    assert "Did you mean `chartqa`?" in error.why
    assert "Did you mean `paper`?" in usage_error(resolve, ["papers"]).why
    assert "Did you mean `mmmu_val`?" in usage_error(load_task, "mmmu_vals").why
    assert "no task's name matches" in usage_error(resolve, ["xyz*"]).why
    assert "add `--tasks" in usage_error(resolve, [" , "]).fix


def test_a_users_folder_goes_through_the_same_door(tmp_path):
    write(tmp_path / "deep/er", "mine", "video")
    write(tmp_path, "_helpers", source="raise RuntimeError('never executed')")
    write(tmp_path / "__pycache__", "cached")
    folders = [str(tmp_path)]
    info = next(info for info in declared(folders) if info.name == "mine")
    assert (info.category, info.title, info.tags) == ("video", "My own", ("private", "slow"))
    assert "mine" in resolve(["video"], folders)
    assert resolve(["mine", "chartqa"], folders) == ["mine", "chartqa"]
    assert load_task("mine", folders).dataset.repo == "me/mine"
    assert "mine" not in [info.name for info in declared()]


def test_listing_executes_nothing(tmp_path):
    write(tmp_path, source=TASK + "\nraise SystemExit('executed')\n")
    assert "mine" in resolve(["mine"], [str(tmp_path)])
    error = usage_error(load_task, "mine", [str(tmp_path)])
    assert "SystemExit: executed" in error.why


def test_only_the_asked_file_is_executed(tmp_path):
    write(tmp_path, "broken", source=TASK + "\n1 / 0\n")
    write(tmp_path, "mine")
    assert load_task("mine", [str(tmp_path)]).name == "mine"


def test_an_exception_names_file_line_and_reason(tmp_path):
    path = write(tmp_path, source=TASK + "\nsettings = dict(a=1)\nsettings['b']\n")
    before = set(sys.modules)
    error = usage_error(load_task, "mine", [str(tmp_path)])
    line = path.read_text().splitlines().index("settings['b']") + 1
    assert str(path) in error.what
    assert error.why == f"line {line}: KeyError: 'b'"
    assert not [name for name in set(sys.modules) - before if name.startswith("evalkit_task_mine")]


def test_a_task_with_wrong_fields_is_the_same_kind_of_error(tmp_path):
    write(tmp_path, source=TASK.replace("max_new_tokens", "max_tokens"))
    assert "max_tokens" in usage_error(load_task, "mine", [str(tmp_path)]).why


def test_a_syntax_error_names_file_line_and_reason(tmp_path):
    path = write(tmp_path, source=TASK + "\ndef broken(:\n")
    error = usage_error(declared, [str(tmp_path)])
    assert str(path) in error.what
    assert f"line {len(path.read_text().splitlines())}" in error.why


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("{name}", "other"), "its `name` is `other`"),
        (("{category}", "images"), "Did you mean `image`?"),
        (('"{name}"', 'str("mine")'), "`name` in line 5 is computed"),
        (("task = Task", "benchmark = Task"), "no `task = Task(...)`"),
        (("max_new_tokens=8", 'max_new_tokens=8, paper_row="ChartQa"'), "Did you mean `ChartQA`?"),
        (("Task(\n", "dict(\n"), "not an `evalkit.task.Task`"),
    ],
)
def test_files_that_are_no_tasks(tmp_path, change, reason):
    write(tmp_path, source=TASK.replace(*change))
    error = usage_error(load_task, "mine", [str(tmp_path)])
    assert "mine.py" in error.what
    assert reason in error.why


SEVERAL = """
from evalkit.task import HubDataset, Task, text

def made(**declared):
    return Task(
        **declared,
        dataset=HubDataset("me/mine"),
        prompt=lambda row: (text(row["q"]),),
        reference=lambda row: row["a"],
        metric=None,
        max_new_tokens=8,
        id=lambda row: row["id"],
        cluster=lambda row: row["id"],
    )

tasks = [
    made(name="{name}_val", category="{category}", title="Val", paper_row="ChartQA"),
    made(name="{name}_test", category="{category}", title="Test", tags=("submission",)),
]
"""


def test_a_file_may_declare_several_tasks(tmp_path):
    path = write(tmp_path, source=SEVERAL)
    folders = [str(tmp_path)]
    found = {info.name: info for info in declared(folders) if info.path == path}
    assert {name: (info.title, info.tags, info.paper_row) for name, info in found.items()} == {
        "mine_val": ("Val", (), "ChartQA"),
        "mine_test": ("Test", ("submission",), None),
    }
    assert resolve(["mine_*"], folders) == ["mine_val", "mine_test"]
    assert "mine_test" not in resolve(["image"], folders)
    assert load_task("mine_test", folders).title == "Test"
    assert load_task("mine_val", folders).paper_row == "ChartQA"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("{name}_test", "{name}_val"), "it declares `mine_val` twice"),
        (('name="{name}_test", ', ""), "has no `name`"),
        (("{name}_test", "chartqa"), "both `"),
        (("tasks = [", "tasks = [*[], "), "nor `tasks = (Task(...), ...)`"),
        (("made(name=", "dict(name="), "not an `evalkit.task.Task`"),
        (("**declared,", "**declared | {{'name': 'other'}},"), "makes `other`"),
    ],
)
def test_files_that_declare_several_tasks_badly(tmp_path, change, reason):
    write(tmp_path, source=SEVERAL.replace(*change))
    assert reason in str(usage_error(load_task, "mine_val", [str(tmp_path)]))


def test_two_files_of_one_name(tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    error = usage_error(declared, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert str(first) in error.why
    assert str(second) in error.why
    assert len(declared([str(tmp_path / "a"), str(tmp_path / "a")])) == len(declared()) + 1
    own = write(tmp_path / "c", "chartqa")
    assert str(own) in usage_error(declared, [str(tmp_path / "c")]).why


def test_a_file_is_compiled_each_time(tmp_path):
    """An edit in the same second that keeps the size would be missed, and damaged code be believed."""
    for number in (16, 32):
        path = write(tmp_path, source=TASK.replace("max_new_tokens=8", f"max_new_tokens={number}"))
        os.utime(path, (1, 1))
        assert load_task("mine", [str(tmp_path)]).max_new_tokens == number
    assert not (tmp_path / "__pycache__").exists()


def test_a_group_is_no_name_for_a_task(tmp_path):
    write(tmp_path, "paper")
    assert "group" in usage_error(declared, [str(tmp_path)]).why


def test_a_folder_that_is_not_there(tmp_path):
    assert "no such folder" in usage_error(declared, [str(tmp_path / "nowhere")]).why


def test_a_wheel_carries_the_tasks_inside_the_package(tmp_path, monkeypatch):
    (tmp_path / "evalkit/_tasks").mkdir(parents=True)
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "evalkit/core/registry.py"))
    assert builtin_dir() == tmp_path / "evalkit/_tasks"


def test_listing_executes_no_task_and_imports_little():
    code = "from evalkit.core.registry import declared\nfound = declared()\n"
    code += "import sys; print(len(found), len(sys.modules), 'evalkit.core.task' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tasks, modules, executed = done.stdout.split()
    assert int(tasks) > 25
    assert executed == "False"
    assert int(modules) < 300
