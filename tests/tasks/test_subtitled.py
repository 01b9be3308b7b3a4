"""Subtitles are those of the frames that a model is really shown: per model, limit and token cap."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from family_checkpoints import processor_of, save_folder
from fork_server import evalkit
from mirrors import build_videomme_mirror

from evalkit.core.errors import UsageError
from evalkit.core.registry import load_task
from evalkit.core.types import Cue, MediaRef, Sample, Subtitled, Text
from evalkit.models.families.internvl import adapter as internvl
from evalkit.models.families.llava_onevision import adapter as llava_onevision
from evalkit.models.families.qwen2_vl import adapter as qwen2_vl
from evalkit.models.families.qwen3_vl import adapter as qwen3_vl
from evalkit.runner.requests import build_request

ADAPTERS = {
    "qwen2_vl": qwen2_vl.FAMILY_ADAPTER,
    "qwen3_vl": qwen3_vl.FAMILY_ADAPTER,
    "llava_onevision": llava_onevision.FAMILY_ADAPTER,
    "internvl": internvl.FAMILY_ADAPTER,
}
CUES = tuple(Cue(number / 4, (number + 1) / 4, f"words {number}") for number in range(40))
WORDS = Subtitled(CUES, "Subtitles:\n", "\n\nWhat happens?", "What happens?")
TASK = SimpleNamespace(name="t", max_new_tokens=4)


def sample(path: str, words: Subtitled = WORDS, *more: Any, **clip: float) -> Sample:
    parts = (MediaRef("video", path=path, **clip), words, *more)
    return Sample("s", parts, "A", "c", meta={"options": {"A": "a", "B": "b"}})


@pytest.fixture(scope="module", params=ADAPTERS)
def model_info(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A checkpoint without weights: what renders and prepares."""
    adapter = ADAPTERS[request.param]
    folder = save_folder(tmp_path_factory.mktemp("checkpoint") / request.param, request.param)
    processor = processor_of(folder)

    def render(parts: Sequence[Any]) -> str:
        return processor.render(parts, adapter.family, adapter.locate)

    return SimpleNamespace(
        preprocessor=adapter.preprocessor(processor),
        tokenizer=processor.tokenizer,
        render=render,
        fingerprint="f",
        variant="mrope",
    )


@pytest.fixture(scope="module")
def video(shared: Path) -> str:
    return str(shared / "media/videos/askanything_yoga.mp4")  # 10 s at 30 frames a second


def seen(times: Sequence[float]) -> list[str]:
    return [cue.text for cue in CUES if any(cue.start <= time < cue.end for time in times)]


@pytest.mark.parametrize("limits", [(None, None), (4, None), (2, None), (None, 1600)])
def test_the_frames_that_are_shown_decide(
    model_info: Any, video: str, limits: tuple[int | None, ...]
) -> None:
    preprocessor = model_info.preprocessor.with_limits(*limits)
    request = build_request(model_info, TASK, sample(video))
    prepared = preprocessor.prepare(request)
    (shown,) = prepared.media
    if limits[0]:
        assert len(shown.timestamps) == limits[0]
    quoted = [line for line in prepared.prompt.splitlines() if line.startswith("words")]
    assert quoted == seen(shown.timestamps)
    assert 0 < len(quoted) <= len(shown.timestamps)
    asked = model_info.tokenizer.decode(prepared.input_ids)
    assert "\n".join(["Subtitles:", *quoted, "", "What happens?"]) in asked
    assert preprocessor.full_prompt(request) == prepared.prompt
    assert abs(preprocessor.estimate(request) - prepared.length) <= 2 * len(shown.timestamps)


def test_the_token_limit_of_a_family_decides_too(model_info: Any, video: str) -> None:
    """LLaVA-OneVision and InternVL show fewer frames of a video where tokens are few."""
    preprocessor = model_info.preprocessor.with_limits(None, 1600)
    (shown,) = preprocessor.prepare(build_request(model_info, TASK, sample(video))).media
    fewer = {"LlavaPreprocessor": 8, "InternVLPreprocessor": 6}
    assert len(shown.timestamps) == fewer.get(type(preprocessor).__name__, 20)


def test_a_clip_has_the_subtitles_of_its_own_frames(model_info: Any, video: str) -> None:
    prepared = model_info.preprocessor.prepare(
        build_request(model_info, TASK, sample(video, start=4.0, end=6.0))
    )
    quoted = [line for line in prepared.prompt.splitlines() if line.startswith("words")]
    assert quoted == seen(prepared.media[0].timestamps)
    assert all(16 <= int(line.split()[1]) <= 24 for line in quoted)


def test_without_a_subtitle_on_screen_the_question_stands_alone(model_info: Any, video: str) -> None:
    silent = replace(WORDS, cues=(Cue(100.0, 101.0, "late"),))
    request = build_request(model_info, TASK, sample(video, silent))
    plain = build_request(
        model_info, TASK, replace(sample(video), parts=(sample(video).parts[0], Text("What happens?")))
    )
    assert model_info.preprocessor.prepare(request).prompt == plain.prompt
    assert request.full_prompt(()) == plain.prompt


def test_special_tokens_in_subtitles_stay_text(model_info: Any, video: str) -> None:
    """And a question may have whatever characters it likes."""
    special = model_info.preprocessor.placeholders["video"]
    tricky = Subtitled((Cue(0.0, 1.0, f"see {special}"),), "\ufdd0:\n", f"\n{special}", special)
    request = build_request(model_info, TASK, sample(video, tricky, Text("\ufdd0\ufdd1")))
    prepared = model_info.preprocessor.prepare(request)
    assert prepared.prompt.count(special) == 1
    assert "\ufdd0:\nsee " in prepared.prompt
    assert "\ufdd0\ufdd1" in prepared.prompt


def test_the_letter_of_an_answer_follows_the_prompt_that_is_asked(model_info: Any, video: str) -> None:
    request = build_request(model_info, TASK, sample(video), mc_logits=True)
    letters = model_info.preprocessor.prepare(request).choices
    assert [model_info.tokenizer.decode([letter]) for letter in letters] == ["A", "B"]


def test_what_decides_is_part_of_the_key(model_info: Any, video: str) -> None:
    def key(words: Subtitled) -> str:
        return build_request(model_info, TASK, sample(video, words)).key

    assert key(WORDS) == key(replace(WORDS))
    others = [
        replace(WORDS, cues=(*CUES[:-1], replace(CUES[-1], text="other"))),
        replace(WORDS, cues=(*CUES[:-1], replace(CUES[-1], end=11.0))),
        replace(WORDS, before="S:"),
        replace(WORDS, after="?"),
        replace(WORDS, otherwise="?"),
    ]
    assert len({key(WORDS), *map(key, others)}) == 1 + len(others)


def test_a_request_travels_to_workers(model_info: Any, video: str) -> None:
    request = build_request(model_info, TASK, sample(video))
    assert pickle.loads(pickle.dumps(request)) == request
    assert hash(pickle.loads(pickle.dumps(request))) == hash(request)


@pytest.mark.parametrize("videos", [0, 2])
def test_subtitles_of_no_video_or_of_two_are_refused(model_info: Any, videos: int) -> None:
    parts = (*[MediaRef("video", path="v.mp4")] * videos, WORDS)
    with pytest.raises(UsageError, match=f"subtitles and {videos} videos"):
        build_request(model_info, TASK, Sample("s", parts, "A", "c"))


@pytest.fixture(scope="module")
def mirror(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    build_videomme_mirror(shared, root)
    srt = "\n\n".join(
        f"{number}\n00:00:{cue.start:06.3f} --> 00:00:{cue.end:06.3f}\n{cue.text}".replace(".", ",")
        for number, cue in enumerate(CUES, 1)
    )
    with zipfile.ZipFile(root / "lmms-eval/Video-MME/subtitle.zip", "w") as archive:
        archive.writestr("subtitle/fFjv93ACGo8.srt", srt)
    return root


def run(mirror: Path, output: Path, *more: str) -> Any:
    words = ("run", "--model", "mock", "--rope", "mrope", "--tasks", "videomme_w_subtitle", "--workers", "0")
    words += ("--rate-limit", "unparsed=1")
    return evalkit(*words, "--data-root", str(mirror), "--output", str(output), *more)


def records(output: Path) -> dict[str, Any]:
    lines = [line for path in output.rglob("*.jsonl") for line in path.read_text().splitlines()]
    return {each["sample_id"]: each for each in map(json.loads, lines) if "sample_id" in each}


def test_a_run_stores_the_prompt_that_was_asked(mirror: Path, tmp_path: Path) -> None:
    """With fewer frames other subtitles, in the record, and in ``--dry-run`` before."""
    prompts = {}
    for frames in (None, 4):
        limit = ("--max-frames", str(frames)) if frames else ()
        output = tmp_path / str(frames)
        dry = run(mirror, output, *limit, "--dry-run", "--json")
        done = run(mirror, output, *limit)
        assert (dry.returncode, done.returncode) == (0, 0), done.stderr
        found = records(output)["001-1"]
        quoted = [line for line in found["prompt"].splitlines() if line.startswith("words")]
        assert quoted == seen(found["media"][0]["timestamps"])
        assert len(quoted) == (frames or 20)
        assert json.loads(dry.stdout)["plan"][0]["prompt"] == found["prompt"]
        prompts[frames] = found["prompt"]
        assert "subtitles" not in records(output)["301-1"]["prompt"]
    assert prompts[None] != prompts[4]
    compared = evalkit("compare", str(tmp_path / "None"), str(tmp_path / "4"))
    assert compared.returncode == 2
    assert "different media (content, frames or size)" in compared.stderr


def test_a_longer_run_with_other_frames_asks_anew(mirror: Path, tmp_path: Path) -> None:
    output = tmp_path / "both"
    assert run(mirror, output, "--max-frames", "4").returncode == 0
    four = records(output)["001-1"]["key"]
    assert run(mirror, output, "--max-frames", "8").returncode == 0
    keys = {
        json.loads(line)["key"] for path in output.rglob("*.jsonl") for line in path.read_text().splitlines()
    }
    assert four in keys
    assert len(keys) > 6


def test_the_task_quotes_nothing_before_the_frames_are_known(
    mirror: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path))
    first = next(load_task("videomme_w_subtitle").samples(str(mirror)))
    assert [cue.text for cue in first.parts[1].cues] == [cue.text for cue in CUES]
