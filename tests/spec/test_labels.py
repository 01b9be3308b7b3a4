"""Labels: in front of a checkpoint, in run.yaml, behind ``--label``; unique, and no part of an identity."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit.zoo
from evalkit.config.labels import labels_by_system
from evalkit.config.model_option import label_pair
from evalkit.config.run_spec import RunSpec, SystemSpec, load_config
from evalkit.core.errors import UsageError
from evalkit.models.checkpoints.series import with_all_steps


def spec(*models: str, **options: object) -> RunSpec:
    return RunSpec(models=models, tasks="mini", **options)


@pytest.mark.parametrize(
    ("text", "model", "label"),
    [
        ("MRoPE-I (ours)=mrope-i=/ckpts/x", "mrope-i=/ckpts/x", "MRoPE-I (ours)"),
        ("A & B_1=mrope-i(temporal_stride=2)=/c/a=b", "mrope-i(temporal_stride=2)=/c/a=b", "A & B_1"),
        ("Mine=auto=org/name", "auto=org/name", "Mine"),
        ("Grid=position=grid,frequency=chunk=/c", "position=grid,frequency=chunk=/c", "Grid"),
        ("Ours=mrope=mock:fixed=B", "mrope=mock:fixed=B", "Ours"),
    ],
)  # fmt: skip
def test_a_label_stands_before_variant_and_checkpoint(text: str, model: str, label: str) -> None:
    found = spec(text)
    assert found.models == (model,)
    assert found.labels == {model: label}
    (system,) = found.systems()
    assert labels_by_system(found) == {system: label}


@pytest.mark.parametrize(
    "text", ["mrope=/ckpts/lr=1e-5", "mrope=run=3", "mock:fixed=B", "mrope=mock:fixed=B", "/ckpts/lr=1=2"]
)
def test_an_equals_sign_in_a_name_is_no_label(text: str) -> None:
    found = spec(text)
    assert found.models == (text,)
    assert found.labels == {}


@pytest.mark.parametrize("text", ["mrope=mrope-i=/ckpts/x", "auto=mrope=/c", "=mrope=/c", " =mrope=/c"])
def test_a_label_that_is_a_variant_or_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="label"):
        spec(text)


def test_a_label_changes_no_folder_and_no_system() -> None:
    plain, labelled = spec("mrope=/c/a", "mrope-i=/c/b"), spec("One=mrope=/c/a", "Two=mrope-i=/c/b")
    assert plain.systems() == labelled.systems()
    assert plain.run_path() == labelled.run_path()


def test_run_yaml_has_labels_by_variant_checkpoint_or_both(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "model: [mrope=/c/a, mrope-i=/c/b, mrope-i(temporal_stride=2)=/c/d]\ntasks: mini\n"
        "labels: {mrope: One, /c/b: 'Two, (ours)', 'mrope-i(temporal_stride=2)=/c/d': Three}\n"
    )
    found = RunSpec(**load_config(path))
    assert labels_by_system(found) == {
        SystemSpec("/c/a", "mrope"): "One",
        SystemSpec("/c/b", "mrope-i"): "Two, (ours)",
        SystemSpec("/c/d", "mrope-i(temporal_stride=2)"): "Three",
    }


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"mrope-i": "A"}, "none goes by that name"),
        ({"a": "A"}, "several go by that name"),
        ({"mrope": "A", "vanilla": "A"}, "it is given to"),
        ({"mrope": "vanilla"}, "another variant"),
    ],
)
def test_labels_that_are_not_clear_are_refused(labels: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        labels_by_system(spec("a", ropes=("mrope", "vanilla"), labels=labels))


def test_two_labels_of_one_checkpoint_are_refused() -> None:
    with pytest.raises(UsageError):
        spec("A=mrope=/c/a", "B=mrope=/c/a")


def test_a_pattern_s_label_is_that_of_its_only_match(tmp_path: Path) -> None:
    zoo = Path(evalkit.zoo.__file__).parent / "checkpoints" / "tiny-mrope"
    (tmp_path / "checkpoint-1").symlink_to(zoo)
    given_spec = spec(f"Ours=mrope={tmp_path}/checkpoint-*")
    assert list(labels_by_system(with_all_steps(given_spec)).values()) == ["Ours"]
    (tmp_path / "checkpoint-2").symlink_to(zoo)
    with pytest.raises(UsageError, match="2 checkpoints"):
        with_all_steps(given_spec)


@pytest.mark.parametrize("text", ["mrope", "=x", "mrope=", " = "])
def test_a_pair_needs_both_parts(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=LABEL"):
        label_pair(text)


@given(
    name=st.text("abc@-", min_size=1),
    label=st.text(st.characters(exclude_characters="=()[]", exclude_categories=["Cs"]), min_size=1),
)
def test_a_pair_is_read_as_it_was_written(name: str, label: str) -> None:
    if label.strip():
        assert label_pair(f"{name}={label}") == (name, label.strip())
