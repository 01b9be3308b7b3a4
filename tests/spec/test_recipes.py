"""Recipes: each value has a source, `paper` is what evalkit does anyway, and what is typed beats a recipe."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from family_checkpoints import preprocessor_of, save_folder

from evalkit.cli import run_cli
from evalkit.config.recipes import PAPER, load_recipe, media_limits, recipe_names
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import UsageError
from evalkit.core.registry import load_task, resolve
from evalkit.core.sampling_params import SamplingParams
from evalkit.core.types import MediaLimits, MediaRef, Sample, Text
from evalkit.data.sampling import FrameRule, expected_count
from evalkit.models.chat_options import ChatOptions
from evalkit.models.preprocess import VISUAL_TOKENS
from evalkit.runner.answering import Answering, TaskAnswering
from evalkit.runner.requests import build_request

QWEN = ("qwen2-vl", "qwen2.5-vl", "qwen3-vl", "qwen3-vl-thinking")
NAMES = ("paper", *QWEN, "llava-onevision", "internvl3", "lmms-eval")
# A page, a file at a commit, or a section of a paper.
SOURCE = re.compile(r"https://\S+|[\w.-]+/[\w.-]+/\S+@[0-9a-f]{40}|arXiv \d{4}\.\d{5}, section")


def answering(**options: Any) -> Answering:
    return Answering.of(RunSpec(models="mock", tasks="mini", **options))


def own(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_there_is_one_for_every_family_of_published_numbers() -> None:
    assert set(recipe_names()) == set(NAMES)
    assert recipe_names()[0] == PAPER


@pytest.mark.parametrize("name", NAMES)
def test_every_value_has_a_source_and_what_is_not_known_is_said(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.title
    assert recipe.unknown
    for setting, found in recipe.flat().items():
        assert SOURCE.search(found.source) or (name == PAPER and "evalkit's" in found.source), setting
    assert all(resolve([pattern]) for pattern in recipe.tasks)


def test_the_paper_s_recipe_is_what_evalkit_does_without_one() -> None:
    said = load_recipe(PAPER).settings.values()
    rule = FrameRule()
    assert (said["fps"], said["max_frames"], said["min_frames"]) == (
        rule.fps,
        rule.max_frames,
        rule.min_frames,
    )
    assert said["visual_tokens"] == VISUAL_TOKENS
    spec = RunSpec(models="mock", tasks="mini")
    assert said["reasoning"] == spec.reasoning
    assert spec.generation_options() == {}
    found = answering()
    assert found.for_task("videomme") == TaskAnswering()
    assert (found.identity(), found.label, found.chat) == ({}, "paper", ChatOptions())
    assert found.for_task("videomme").described() == {}
    assert answering(temperature=0, thinking="template").label == "paper"


def test_qwen3_vl_on_video_mme() -> None:
    found = answering(recipe="qwen3-vl")
    own_task = found.for_task("videomme")
    assert own_task.limits == MediaLimits(
        fps=2.0, max_frames=2048, visual_tokens=224 * 1024, video_max_pixels=224 * 1024 * 2 * 32 * 32
    )
    assert own_task.sampling == SamplingParams(0.7, 0.8, 20, 1.5)
    assert (own_task.max_new_tokens, own_task.wording) == (32768, "concise")
    assert found.for_task("videomme_w_subtitle").limits == own_task.limits
    other = found.for_task("mlvu_dev").limits
    assert other == MediaLimits(fps=2.0)
    assert set(found.identity()) == {"recipe"}


def test_what_is_typed_beats_the_recipe() -> None:
    found = answering(recipe="qwen3-vl", temperature=0, max_frames=64, max_new_tokens=9)
    own_task = found.for_task("videomme")
    assert own_task.sampling is None
    assert own_task.max_new_tokens == 9
    assert own_task.limits is not None
    assert own_task.limits.max_frames == 64
    assert found.label == "qwen3-vl + max new tokens 9, temperature 0"


def test_a_video_of_an_hour_has_the_frames_and_tokens_that_are_said(tmp_path: Path) -> None:
    limits = answering(recipe="qwen3-vl").for_task("videomme").limits
    assert limits is not None
    tiny = preprocessor_of(save_folder(tmp_path / "q", "qwen3_vl"))
    preprocessor = replace(tiny, patch=16).limited(limits)  # 32 pixels a token, as the published ones
    frames = expected_count(3600, 90_000, preprocessor.frames)
    assert frames == 2048
    film = MediaRef("video", path="hour.mp4")
    width, height = preprocessor._shown_size(film, (1920, 1080), frames, 1)
    tokens = frames // preprocessor.temporal_patch * width * height // preprocessor.factor**2
    assert 0.9 * 224 * 1024 < tokens <= 224 * 1024
    uniform = answering(recipe="llava-onevision").for_task("mvbench").limits
    assert uniform is not None
    video = preprocessor_of(save_folder(tmp_path / "l", "llava_onevision")).limited(uniform)
    assert {expected_count(seconds, 10_000, video.frames) for seconds in (5, 60, 3600)} == {32}


def test_a_limit_that_a_family_has_not_is_refused(tmp_path: Path) -> None:
    internvl = preprocessor_of(save_folder(tmp_path / "i", "internvl"))
    assert internvl.limited(MediaLimits(max_tiles=3)).most == 3
    with pytest.raises(UsageError, match="`image_max_pixels`"):
        internvl.limited(MediaLimits(image_max_pixels=100))
    qwen = preprocessor_of(save_folder(tmp_path / "q", "qwen2_vl"))
    assert qwen.limited(MediaLimits(image_max_pixels=4 * 28**2)).limits.image_max == 4 * 28**2
    with pytest.raises(UsageError, match="`max_tiles`"):
        qwen.limited(MediaLimits(max_tiles=3))
    code = run_cli(
        [
            "run",
            "--model",
            "mock",
            "--recipe",
            own(tmp_path, "settings: {thinking: on}"),
            "--tasks",
            "mini_docvqa",
        ]
    )
    assert code == 2


def test_wordings_and_prompts() -> None:
    sample = Sample(
        "s",
        (Text("plain words", {"concise": "few words"}),),
        "A",
        "c",
        meta={"question": "Which?", "options": {"A": "red", "B": "blue"}},
    )
    assert TaskAnswering(wording="concise").parts(sample) == (Text("few words"),)
    assert TaskAnswering(wording="qwen2-vl").parts(sample) == (Text("plain words"),)
    asked = TaskAnswering(prompt="{question}\n{options}\nAnswer:").parts(sample)
    assert asked == (Text("Which?\nA. red\nB. blue\nAnswer:"),)
    both = Sample("s", (Text("a"), Text("b")), "A", "c")
    with pytest.raises(UsageError, match="this question has 2"):
        TaskAnswering(prompt="x").parts(both)


def test_a_file_of_ones_own_and_its_content(tmp_path: Path) -> None:
    first = answering(recipe=own(tmp_path, "settings: {fps: 1, max_new_tokens: 5}\n"))
    assert first.for_task("videomme").limits == MediaLimits(fps=1.0)
    assert re.fullmatch(r"mine#[0-9a-f]{6}", first.label)
    second = answering(recipe=own(tmp_path, "settings: {fps: 2, max_new_tokens: 5}\n"))
    assert first.label != second.label
    assert first.identity() != second.identity()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("settings: {fsp: 2}", "unknown"),
        ("settings: {fps: many}", "number"),
        ("settings: {fps: {value: 2}}", "missing"),
        ("settings: {frame_rule: uniform}", "how many frames"),
        ("tasks: {videomme: {prompt: '{answer}'}}", "in braces"),
        ("settings: {wording: loud}", "concise"),
        ("- a list", "mapping"),
    ],
)
def test_a_recipe_that_can_t_be_followed_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        answering(recipe=own(tmp_path, text)).for_task("videomme")
    assert why in f"{caught.value}"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="qwen3-vl"):
        answering(recipe="qwen3vl")
    with pytest.raises(UsageError, match=r"No such|no such|not"):
        answering(recipe="./nothing.yaml")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"n": 4}, "greedy"),
        ({"seed": 1}, "greedy"),
        ({"top_p": 0.9}, "greedy"),
        ({"temperature": 1e-9}, "overflow"),
        ({"temperature": 1.0, "mc_logits": True}, "likeliest letter"),
    ],
)
def test_sampling_without_a_temperature_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        answering(**options)


def test_one_answer_goes_to_a_server() -> None:
    with pytest.raises(UsageError, match="takes one answer"):
        answering(temperature=1.0, n=2).task(load_task("docvqa_test"))


def test_what_changes_an_answer_is_in_the_key() -> None:
    class Model:
        fingerprint, variant = "f", "mrope"

        def render(self, parts: Any) -> str:
            return "".join(part.text for part in parts)

    model: Any = Model()
    task, sample = load_task("mini_docvqa"), Sample("s", (Text("Q"),), "A", "c")

    def key(repetition: int = 0, **how: Any) -> str:
        return build_request(model, task, sample, answering=TaskAnswering(**how), repetition=repetition).key

    params = SamplingParams(1.0)
    keys = [
        build_request(model, task, sample).key,
        key(sampling=params),
        key(1, sampling=params),
        key(sampling=SamplingParams(1.0, seed=1)),
        key(sampling=SamplingParams(1.0, top_k=3)),
        key(reasoning_tokens=8),
        key(limits=MediaLimits(fps=1.0)),
        key(prompt="{question}?"),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
    assert key(sampling=params, n=8) == keys[1], "more answers leave those that are there"


def test_media_limits_of_nothing() -> None:
    assert media_limits({}) is None
    assert media_limits({"wording": "plain"}) is None


def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*words: str) -> str:
        assert run_cli(["recipes", *words]) == 0
        return capsys.readouterr().out

    assert all(name in printed() for name in NAMES)
    assert printed("list") == printed()
    shown = printed("show", "qwen3-vl")
    assert "2048" in shown
    assert "issues/1540" in shown
    assert "not known: " in shown
    found = json.loads(printed("diff", "qwen2-vl", "qwen2.5-vl", "--json"))
    assert found["visual_tokens"] == [None, 24576]
    assert "fps" not in found
    assert "say the same" in printed("diff", "paper", "paper")
    assert set(json.loads(printed("--json"))) == set(NAMES)
    assert run_cli(["recipes", "show", "nobody"]) == 2
