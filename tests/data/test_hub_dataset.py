import json

import pyarrow as pa
import pytest
from mirrors import (
    build_chartqa_mirror,
    build_docvqa_mirror,
    build_mmmu_mirror,
    png,
    write_parquet,
    write_readme,
)

from evalkit.core.errors import EnvironmentProblem, ExitCode
from evalkit.core.registry import load_task
from evalkit.data.hub import HubDataset


def read(dataset, root):
    return list(dataset.rows(str(root)))


def problem(dataset, root):
    with pytest.raises(EnvironmentProblem) as caught:
        read(dataset, root)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    return caught.value


def test_rows_come_in_order_with_encoded_images(tmp_path, shared):
    written = build_chartqa_mirror(shared, tmp_path)
    rows = read(HubDataset("lmms-lab-encoder/ChartQA", split="test"), tmp_path)
    assert [row["row_number"] for row in rows] == list(range(60))
    assert [{k: v for k, v in row.items() if k != "row_number"} for row in rows] == written


def test_shards_follow_one_another(tmp_path):
    written = build_docvqa_mirror(tmp_path)
    rows = read(HubDataset("lmms-lab-encoder/DocVQA", "DocVQA", split="validation"), tmp_path)
    assert [row["questionId"] for row in rows] == [row["questionId"] for row in written]


def test_configurations_follow_one_another_in_the_order_declared(tmp_path):
    build_mmmu_mirror(tmp_path, ("Art", "Math"))
    rows = read(HubDataset("MMMU/MMMU", ("Math", "Art"), split="validation"), tmp_path)
    assert [row["id"] for row in rows] == [f"validation_{s}_{n}" for s in ("Math", "Art") for n in (1, 2)]
    assert [row["row_number"] for row in rows] == [0, 1, 2, 3]


def test_describe_before_and_after_opening(tmp_path):
    build_docvqa_mirror(tmp_path)
    dataset = HubDataset("lmms-lab-encoder/DocVQA", "DocVQA", split="validation")
    declared = {
        "repo": "lmms-lab-encoder/DocVQA",
        "config": "DocVQA",
        "split": "validation",
        "revision": "main",
    }
    assert dataset.describe() == declared
    notes = tmp_path / "lmms-lab-encoder/DocVQA/.cache/huggingface/download/README.md.metadata"
    notes.parent.mkdir(parents=True)
    notes.write_text("539088ef8a8ada01ac8e2e6d4e372586748a265e\nabc\n1\n")
    opened = dataset.open(str(tmp_path))
    commit = "539088ef8a8ada01ac8e2e6d4e372586748a265e"
    assert opened.describe() == {**declared, "source": "local mirror", "commit": commit}
    assert read(opened, tmp_path) == read(dataset, tmp_path)
    assert dataset.describe() == declared  # a declaration stays what it is
    task = load_task("mini_docvqa")
    assert task.open(str(tmp_path)) is task  # nothing to be looked for


def test_missing_data_root(tmp_path):
    error = problem(HubDataset("lmms-lab-encoder/ChartQA"), tmp_path / "nowhere")
    assert "nowhere" in error.what
    assert "--data-root" in error.fix


def test_missing_repository_names_path_and_download_and_neighbour(tmp_path):
    build_docvqa_mirror(tmp_path)
    error = problem(HubDataset("lmms-lab-encoder/DocVQAs"), tmp_path)
    assert str(tmp_path / "lmms-lab-encoder/DocVQAs") in error.why
    assert "Did you mean `lmms-lab-encoder/DocVQA`?" in error.why
    expected = tmp_path / "lmms-lab-encoder/DocVQAs"
    assert error.fix == f"hf download lmms-lab-encoder/DocVQAs --repo-type dataset --local-dir {expected}"


def test_wrong_split_lists_the_splits(tmp_path):
    build_docvqa_mirror(tmp_path)
    error = problem(HubDataset("lmms-lab-encoder/DocVQA", "DocVQA", split="validations"), tmp_path)
    assert "only validation" in error.why
    assert "Did you mean `validation`?" in error.why


def test_wrong_configuration_lists_the_configurations(tmp_path):
    build_docvqa_mirror(tmp_path)
    error = problem(HubDataset("lmms-lab-encoder/DocVQA", "InfographicVQA", split="validation"), tmp_path)
    assert "InfographicVQA" in error.what
    assert "DocVQA" in error.why


def test_a_configuration_without_files_is_an_error_and_not_skipped(tmp_path):
    build_mmmu_mirror(tmp_path, ("Art", "Math"))
    (tmp_path / "MMMU/MMMU/Math/validation-00000-of-00001.parquet").unlink()
    error = problem(HubDataset("MMMU/MMMU", ("Art", "Math"), split="validation"), tmp_path)
    assert "`Math`" in error.what


def test_missing_columns_are_named(tmp_path):
    build_docvqa_mirror(tmp_path)
    dataset = HubDataset(
        "lmms-lab-encoder/DocVQA", "DocVQA", split="validation", columns=("question", "ocr", "boxes")
    )
    error = problem(dataset, tmp_path)
    assert "`ocr`, `boxes`" in error.why
    assert "`questionId`" in error.why


@pytest.mark.parametrize(
    "content", [b"", b"PAR1 and then nothing", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_damaged_file_is_one_clear_error(tmp_path, content):
    build_docvqa_mirror(tmp_path)
    (tmp_path / "lmms-lab-encoder/DocVQA/DocVQA/validation-00001-of-00002.parquet").write_bytes(content)
    error = problem(HubDataset("lmms-lab-encoder/DocVQA", "DocVQA", split="validation"), tmp_path)
    assert "download it again" in error.fix
    assert "\n" not in error.why


def test_an_empty_mirror_is_an_error(tmp_path):
    (tmp_path / "own/empty").mkdir(parents=True)
    assert "own/empty" in problem(HubDataset("own/empty"), tmp_path).what


def test_a_data_set_script_is_never_run(tmp_path):
    folder = tmp_path / "own/script"
    folder.mkdir(parents=True)
    (folder / "script.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit")
    problem(HubDataset("own/script"), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_other_formats_are_refused(tmp_path):
    folder = tmp_path / "own/text"
    folder.mkdir(parents=True)
    (folder / "test.txt").write_text("a line\n")
    assert "`text` files" in problem(HubDataset("own/text"), tmp_path).why


def test_a_mirror_without_a_card_works_by_file_names(tmp_path):
    schema = {"id": pa.string(), "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())])}
    image = {"bytes": png(), "path": None}
    write_parquet(
        tmp_path / "own/plain/data/test-00000-of-00001.parquet", [{"id": "a", "image": image}], schema
    )
    assert read(HubDataset("own/plain"), tmp_path) == [{"row_number": 0, "id": "a", "image": image}]


def test_json_lines_work_too(tmp_path):
    folder = tmp_path / "own/lines"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text("".join(json.dumps({"q": q}) + "\n" for q in "ab"))
    write_readme(folder, {"default": {"test": "test.jsonl"}})
    assert [row["q"] for row in read(HubDataset("own/lines"), tmp_path)] == ["a", "b"]


def test_files_are_looked_up_and_missing_ones_keep_their_expected_path(tmp_path):
    (tmp_path / "own/files").mkdir(parents=True)
    (tmp_path / "own/files/test.jsonl").write_text('{"n": "a"}\n{"n": "b"}\n')
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(b"x")
    dataset = HubDataset(
        "own/files", files={"image": ("images/{n}.jpg",), "extra": ("{n}.txt",)}, optional=("extra",)
    )
    first, second = read(dataset, tmp_path)
    assert first["image"] == str(tmp_path / "images/a.jpg")
    assert second["image"] == str(tmp_path / "images/b.jpg")
    assert first["extra"] is None
    (tmp_path / "images/a.jpg").unlink()
    error = problem(dataset, tmp_path)
    assert "none of the 2 is there" in error.why
    assert str(tmp_path / "images/a.jpg") in error.why


def test_a_row_can_not_point_outside_of_the_data(tmp_path):
    (tmp_path / "root/own/files").mkdir(parents=True)
    (tmp_path / "root/own/files/test.jsonl").write_text('{"n": "../../secret"}\n')
    (tmp_path / "secret.jpg").write_bytes(b"x")
    dataset = HubDataset("own/files", files={"image": ("{n}.jpg",)})
    assert "outside of the data" in problem(dataset, tmp_path / "root").why


def test_offline_without_cache(tmp_path):
    import os
    import subprocess
    import sys

    code = (
        "from evalkit.data.hub import HubDataset\n"
        "from evalkit.core.errors import EnvironmentProblem\n"
        "try:\n    list(HubDataset('lmms-lab-encoder/ChartQA').rows(None))\n"
        "except EnvironmentProblem as error:\n    print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=500
    )
    assert done.stdout.startswith("data set `lmms-lab-encoder/ChartQA`")
    assert "why: HF_HUB_OFFLINE is set" in done.stdout
    assert "`evalkit data pull TASKS --data-root DIR`" in done.stdout


def test_the_way_through_the_hubs_cache_gives_the_same_rows(tmp_path, monkeypatch):
    # Without a network the hub can't be asked; its loader takes a folder where a repository stands.
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    written = build_docvqa_mirror(tmp_path)
    dataset = HubDataset("lmms-lab-encoder/DocVQA", "DocVQA", split="validation")
    assert (
        list(dataset._read(str(tmp_path / "lmms-lab-encoder/DocVQA"), "DocVQA", revision="main")) == written
    )


def test_importing_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, evalkit.core.task, evalkit.core.registry\n"
        "print([m for m in ('datasets', 'pyarrow', 'numpy', 'PIL', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
