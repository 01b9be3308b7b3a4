"""`--engine vllm` without vLLM: what is refused, sent and stored, on a package that calls itself vLLM."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fake_vllm import make_environment, processes_in
from hypothesis import given
from hypothesis import strategies as st
from outside_files import VROPE
from tiny_families import IMAGE_PAD, TINY, VIDEO_PAD

from evalkit.api import backend_parity, compare, engine_parity, run
from evalkit.cli.ropes import command as ropes_command
from evalkit.config.engine_args import read_engine_args
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import EngineDied, EnvironmentProblem, EvalkitError, UsageError
from evalkit.core.sampling_params import SamplingParams
from evalkit.core.types import Request, Text
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.inference.sequence import segments_of
from evalkit.integrations.vllm import client, system
from evalkit.integrations.vllm.media import placed_media, segments_with, vision_of
from evalkit.integrations.vllm.protocol import read_message, write_message
from evalkit.models.base import LoadConfig
from evalkit.report.comparability import engine_name
from evalkit.report.results import open_run
from evalkit.rope.batch import position_batch
from evalkit.rope.layout import TextRun, VisualBlock
from evalkit.rope.outside import RopeFile, rope_catalog
from evalkit.rope.serving import unservable
from evalkit.rope.variants import VARIANTS, parse_variant
from evalkit.store import RunDir

REFUSED = {
    "circlerope": "fractions",
    "circlerope(age=odd)": "fractions",
    "v2pe": "fractions",
    "hope(temporal_stride=0.75)": "fractions",
    "mrope-i(temporal_stride=0.5)": "fractions",
    "mmrope(scale=[1,0.5,1])": "fractions",
    "il-rope": "the axes `h` and `w`",
    "omni-rope": "the axes `h` and `w`",
    "mrope(compat=hf5)": "where the prompt's text ends",
}
SERVED = (
    *("vanilla", "mrope", "mrope-i", "mhrope", "videorope", "hope", "grape", "mmrope", "rope-tie"),
    *("v2pe(step=1)", "il-rope(text=copy)", "mrope(scaling=yarn(4))", "tad-rope"),
    "mrope(compat=int_seconds)",
)
OUTSIDE = b"""
from typing import ClassVar
from evalkit.rope.design import Chunk, Grid, RopeVariant

class TwoWays(Grid):
    name = "two_ways"
    query_rotations: ClassVar[int] = 2

class Halves(Grid):
    name = "halves"
    def place(self, block, at):
        placed = super().place(block, at)
        return placed._replace(next_position=placed.next_position + 0.5)

two_ways = RopeVariant(TwoWays(), Chunk(), name="two-ways")
halves = RopeVariant(Halves(), Chunk(), name="halves")
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_environment(tmp_path_factory.mktemp("fake"))


def on_fake(python: str, **options: Any) -> LoadConfig:
    return LoadConfig(engine="vllm", vllm_python=python, **options)


def spec(python: str, output: Path, **options: Any) -> RunSpec:
    asked = {"models": "tiny", "ropes": "mrope", "tasks": "mini_docvqa", "limit": 4, "workers": 0}
    engine = {"engine": "vllm", "vllm_python": python}
    return RunSpec(**{**asked, **engine, "output": str(output), **options})


def records(path: Path) -> dict[str, Any]:
    return {each.sample_id: each for each in open_run(RunDir.open(path)).flat()}


def test_every_named_variant_is_either_served_or_refused() -> None:
    assert {name.partition("(")[0] for name in (*REFUSED, *SERVED)} >= set(VARIANTS)
    shown = json.loads(CliRunner().invoke(ropes_command, ["--json"]).output)
    for name, found in shown.items():
        assert found["vLLM"].startswith("can't run it: " if name in REFUSED else "runs it")


@pytest.mark.parametrize("variant", REFUSED)
def test_what_vllm_cannot_express_is_refused_before_it_is_started(variant: str, python: str) -> None:
    started = Path(python).with_name("started")
    before = started.exists() and started.read_text()
    with pytest.raises(UsageError, match="RoPE variant") as caught:
        system.describe("evalkit/zoo/checkpoints/tiny-mrope", variant, on_fake(python))
    assert variant in caught.value.what
    assert REFUSED[variant] in caught.value.why
    assert (started.exists() and started.read_text()) == before


@pytest.mark.parametrize("name", ["two-ways", "halves"])
def test_variants_from_outside_are_refused_by_the_same_properties(name: str, python: str) -> None:
    files = (RopeFile("mine.py", OUTSIDE),)
    assert unservable(rope_catalog(files).parse(name), 4) is not None
    with pytest.raises(UsageError, match="rotated in 2 ways" if name == "two-ways" else "fractions"):
        system.describe("evalkit/zoo/checkpoints/tiny-mrope", name, on_fake(python, rope_files=files))


@given(
    st.sampled_from(SERVED),
    st.lists(
        st.one_of(
            st.integers(1, 9).map(TextRun),
            st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)).map(
                lambda grid: VisualBlock(grid, 0.7 if grid[0] > 1 else None)
            ),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_served_variants_are_numbered_as_vllm_numbers(name: str, segments: list[Any]) -> None:
    """Integers; and a generated token stands at its index plus one number, on every axis."""
    variant = parse_variant(name).with_defaults(absolute_time=True)
    assert unservable(variant, 4) is None
    length = sum(each.length for each in segments)
    batch = position_batch([variant.position], [segments], np.ones((1, length), bool))
    assert batch.prompt.dtype == torch.int64
    delta = int(batch.next_position[0, 0]) - length
    index = torch.arange(length, length + 7)[None]
    assert (batch.after(index)[1:] == index + delta).all()


@pytest.mark.parametrize("name", TINY)
def test_media_are_found_where_the_prompt_has_them(name: str) -> None:
    """Places and segments that vLLM's process works out are those of the prompt, separators included."""
    pads = (IMAGE_PAD, VIDEO_PAD)
    for item in TINY[name].prompts:
        placed = placed_media(item, pads)
        assert segments_with(item.length, placed) == segments_of(item)
        found = np.concatenate([np.empty(0, int), *(each.indices for each in placed)])
        assert found.tolist() == np.flatnonzero(np.isin(item.input_ids, pads)).tolist()
        for each in placed:
            told = json.loads(json.dumps(each.describe()))
            assert repr(vision_of(told, each.vision.patches)) == repr(each.vision)


ARRAYS = st.lists(
    st.tuples(st.sampled_from(["<i8", "|u1", "<f4", "|b1"]), st.lists(st.integers(0, 4), max_size=3))
)


@given(st.dictionaries(st.text(), st.integers() | st.text()), ARRAYS)
def test_messages_arrive_as_they_were_sent(head: dict[str, Any], shapes: list[tuple[str, list[int]]]) -> None:
    arrays = [np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape) for dtype, shape in shapes]
    file = io.BytesIO()
    write_message(file, {**head, "op": "x"}, arrays)
    write_message(file, {"op": "y"})
    file.seek(0)
    message = read_message(file)
    assert message is not None
    found, there = message
    assert found == {**{key: value for key, value in head.items() if key != "arrays"}, "op": "x"}
    for one, two in zip(arrays, there, strict=True):
        assert one.dtype == two.dtype
        assert np.array_equal(one, two)
    assert read_message(file) == ({"op": "y"}, [])
    assert read_message(file) is None


def test_a_message_that_breaks_off_is_no_message() -> None:
    file = io.BytesIO()
    write_message(file, {"op": "x"}, [np.arange(8)])
    with pytest.raises(ValueError, match="ended within"):
        read_message(io.BytesIO(file.getvalue()[:-1]))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"compile": True}, "--compile"),
        ({"deterministic": True}, "--deterministic"),
        ({"device_map": "auto"}, "--device-map"),
        ({"without": "prefix,media"}, "--without prefix"),
        ({"engine": "evalkit", "engine_args": "seed=1"}, "--vllm-python"),
        ({"models": "mock"}, "mock"),
        ({"device": "cuda:0"}, "--device cuda"),
        ({"engine_args": "dtype=half"}, "dtype"),
        ({"engine_args": "max_model_length=9"}, "max_model_length"),
        ({"engine_args": "tensor_parallel_size=3"}, "tensor_parallel_size=3"),
    ],
)
def test_options_of_another_engine_are_refused_by_name(
    options: dict[str, Any], named: str, python: str, tmp_path: Path
) -> None:
    with pytest.raises(EvalkitError) as caught:
        run(spec(python, tmp_path / "run", **options))
    assert named in caught.value.what


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"vllm": None}, "it has no vLLM"),
        ({"vllm": "0.31.9"}, "needs 0.32 or newer"),
        ({"evalkit": "0.0.9"}, "its evalkit is 0.0.9"),
        ({"plugin": False}, "has no plug-in"),
    ],
)
def test_an_environment_that_cannot_be_used_says_why(
    environment: dict[str, Any], why: str, tmp_path: Path
) -> None:
    python = make_environment(tmp_path, **environment)
    with pytest.raises(EnvironmentProblem) as caught:
        client.environment_of(python)
    assert why in caught.value.why
    with pytest.raises(EnvironmentProblem, match="can't be started"):
        client.environment_of(str(tmp_path / "nothing"))


def test_a_model_that_vllm_cannot_load_says_vllms_own_reason(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "broken")
    with pytest.raises(EnvironmentProblem, match="can't load") as caught:
        run(spec(python, tmp_path / "run"))
    assert "RuntimeError: the fake was told not to start" in caught.value.why


def test_a_killed_process_is_named_and_the_rest_is_answered_by_the_same_command(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "die=2")
    asked = spec(python, tmp_path / "run", limit=3, batch_size=1)
    with pytest.raises(EngineDied, match="the vLLM process died") as caught:
        run(asked)
    assert caught.value.exit_code == 4
    assert "signal 9" in caught.value.why
    kept = RunDir.open(tmp_path / "run").journal().records
    assert len(kept) == 2
    monkeypatch.delenv("FAKE_VLLM")
    outcome = run(asked)
    assert (outcome.missing, outcome.failed) == (0, 0)
    again = RunDir.open(tmp_path / "run").journal().records
    assert {key: again[key].seconds for key in kept} == {key: each.seconds for key, each in kept.items()}
    assert processes_in(python) == []


def test_what_vllm_rejects_is_an_error_record_and_others_are_answered(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "reject=2")
    outcome = run(spec(python, tmp_path / "run", limit=8))
    found = records(tmp_path / "run")
    failed = [each for each in found.values() if each.failed]
    assert 0 < outcome.failed == len(failed) < 8
    assert all("the fake does not like this prompt" in each.error for each in failed)
    assert all(each.token_ids and each.margins for each in found.values() if not each.failed)


@pytest.mark.parametrize("fault", ["loop", "nan", ""])
def test_answers_end_by_evalkits_rules(fault: str, python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM", fault)
    model = system.describe("tiny", "mrope", on_fake(python)).load()
    try:
        answer, cut_short = _answered(model, new_tokens=100), _answered(model, new_tokens=5000)
    finally:
        model.close()
    assert "`--engine-args max_model_len=N`" in str(cut_short.error)
    if fault == "loop":
        assert (answer.finish_reason, len(answer.token_ids)) == ("loop", 64)
    elif fault == "nan":
        assert answer.finish_reason == "error"
        assert "not finite" in str(answer.error)
    else:
        assert answer.finish_reason == "stop"
        stop = model.info.info.generation_tokens.stop_token_ids
        assert not stop & set(answer.token_ids)
        assert len(answer.margins) == len(answer.token_ids) + 1
        assert answer.margin == min(answer.margins) == 1.25


def _answered(model: Any, new_tokens: int, opening: str = "", **more: Any) -> Any:
    asked = {"key": "a", "task": "t", "sample_id": "s", "media": (), "max_new_tokens": new_tokens, **more}
    prompt = model.info.render([Text("Why?")]) + opening
    item = model.info.preprocessor.prepare(Request(prompt=prompt, **asked))
    ((_, answer),) = generate_all(model.decoder(), [PrefixGroup((item,), 0)])
    return answer


def test_reasoning_is_cut_off_at_its_budget(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM", "loop")
    model = system.describe("tiny", "mrope", on_fake(python)).load()
    try:
        reasons = _answered(model, new_tokens=40, opening="<think>\n", reasoning_tokens=30)
        answers = _answered(model, new_tokens=40, reasoning_tokens=30)
    finally:
        model.close()
    assert (reasons.finish_reason, len(reasons.token_ids)) == ("length", 30)
    assert (answers.finish_reason, len(answers.token_ids)) == ("length", 10)


def test_tokens_are_drawn_only_where_the_engine_was_started_for_it(python: str) -> None:
    draws = SamplingParams(1.0).draws("t", "s", 0)
    for started in (True, False):
        model = system.describe("tiny", "mrope", on_fake(python, draws=started)).load()
        try:
            answer = _answered(model, new_tokens=9, draws=draws)
        finally:
            model.close()
        assert (answer.error is None) == started


@pytest.mark.parametrize("by_recipe", [False, True])
def test_every_question_is_drawn_n_times_by_options_or_a_benchmarks_recipe(
    by_recipe: bool, python: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\ntasks:\n  mini_docvqa: {temperature: 1.0}\n")
    options = {"recipe": str(recipe)} if by_recipe else {"temperature": 1.0, "n": 2, "seed": 5}
    run(spec(python, tmp_path / "run", tasks="mini_docvqa,mini_chartqa", limit=3, **options))
    found = open_run(RunDir.open(tmp_path / "run")).flat()
    assert all(each.error is None for each in found)
    assert len(found) == (6 if by_recipe else 12)
    by_sample: dict[str, set[str]] = {}
    for each in found:
        by_sample.setdefault(f"{each.task} {each.sample_id}", set()).add(str(each.token_ids))
    assert max(map(len, by_sample.values())) == (1 if by_recipe else 2)


def test_two_engines_are_asked_alike_never_mixed_and_paired_only_when_asked(
    python: str, tmp_path: Path
) -> None:
    asked = spec(
        python, tmp_path / "run", tasks="mini_docvqa,mini_video", limit=3, parity=2, engine_args="seed=3"
    )
    run(asked)
    (pair,) = engine_parity(asked)
    assert (pair.samples, len(pair.divergences), pair.asked_alike) == (4, 4, True)
    assert [name.partition(" ")[0] for name in pair.engines] == ["vllm", "evalkit"]
    assert pair.to_json()["changed_answers"] == 1
    theirs, ours = records(tmp_path / "run"), records(tmp_path / "run/parity")
    for name, mine in ours.items():
        for field in ("prompt", "media", "prompt_tokens", "visual_tokens", "reference"):
            assert getattr(theirs[name], field) == getattr(mine, field)
    for each in pair.divergences:
        answer, other = theirs[each.sample_id], ours[each.sample_id]
        assert answer.token_ids[: each.token] == other.token_ids[: each.token]
        assert answer.token_ids[each.token :][:1] != other.token_ids[each.token :][:1]
        assert each.margin == answer.margins[each.token] == 1.25 + each.token
    scores = [(theirs[key].score, ours[key].score) for key in ours]
    assert pair.changed_scores == sum(one.value != two.value for one, two in scores if one and two)
    with pytest.raises(UsageError, match="can't be compared"):
        compare(tmp_path / "run", tmp_path / "run/parity")
    with pytest.raises(UsageError, match="nothing to compare"):
        backend_parity(tmp_path / "run/parity")
    _check_one_folder(python, tmp_path / "run")


def _check_one_folder(python: str, output: Path) -> None:
    """The engine, its version and arguments tell systems apart in one folder, too."""
    run(spec(python, output, engine="evalkit", vllm_python=None, limit=1))
    results = open_run(RunDir.open(output))
    assert [engine_name(arm) for arm in results.arms("run")] == ["vllm", "evalkit"]
    assert len({each.key for each in results.flat()}) == len(results.flat()) == 7
    identity = results.manifest.arms[0].identity
    assert identity["engine"].startswith("vllm 0.32.0")
    assert json.loads(identity["engine arguments"])["seed"] == 3
    assert (identity["torch"], identity["transformers"]) == ("2.13.0+cpu", "5.19.0")
    with pytest.raises(UsageError, match="can't be compared"):
        compare(output)
    notes = compare(output, allow_mismatch=True).notes
    assert any("round differently" in note for note in notes)


def test_an_engines_gpus_are_those_that_were_given_and_share_every_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = client.VllmEnvironment("python", "0.33.0", "2.14.0", "5.20.0", "cuda", "a GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert system._visible(LoadConfig(device="cuda:1"), environment) == ("5",)
    both = LoadConfig(device="cuda", device_map="auto")
    assert system._visible(both, environment) == ("4", "5")
    assert system._engine_args(both, ("4", "5")) == {"tensor_parallel_size": 2}
    told = replace(both, engine_args=(("tensor_parallel_size", 1), ("pipeline_parallel_size", 2)))
    assert system._engine_args(told, ("4", "5"))["tensor_parallel_size"] == 1
    with pytest.raises(EnvironmentProblem, match="--device cpu"):
        system._visible(LoadConfig(device="cpu"), environment)


def test_vllm_is_told_as_many_axes_as_the_design_has(python: str) -> None:
    """It counts them by the section; what the checkpoint says of it goes to the variant unchanged."""
    folder, files = "evalkit/zoo/checkpoints/tiny-mrope", (RopeFile("vrope.py", VROPE.encode()),)
    four = system.describe(folder, "vrope", on_fake(python, rope_files=files))._config()
    assert four["text_config"]["rope_parameters"]["mrope_section"] == [4, 6, 6, 0]
    assert four["evalkit"]["own_rope"]["mrope_section"] == [4, 6, 6]
    assert [path for path, _ in four["evalkit"]["rope_files"]] == ["vrope.py"]
    three = system.describe(folder, "mrope-i", on_fake(python))._config()
    assert "text_config" not in three
    assert three["architectures"] == ["EvalkitForCausalLM"]


@pytest.mark.parametrize("text", ["max_model_len", "{broken", "=3"])
def test_engine_arguments_that_cannot_be_read_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"engine.args"):
        spec("python", tmp_path, engine_args=text)


def test_engine_arguments_are_read_from_lists_json_and_mappings() -> None:
    assert read_engine_args("a=1,b=x,c=[1,2]") == {"a": 1, "b": "x", "c": [1, 2]}
    assert read_engine_args(['{"a": {"b": 1}}', "c=true"]) == {"a": {"b": 1}, "c": True}
    assert read_engine_args({"a": 1}) == {"a": 1}
