"""Damaged files: the answer is one of evalkit's errors, or what a checksum vouches for.

``EVALKIT_FUZZ=1000000`` tries that many (`make fuzz`); a case is made from a number, which a failure names.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from evalkit.ci import baseline
from evalkit.ci.policy import Limits, read_policy
from evalkit.config.run_spec import load_config
from evalkit.core.errors import EvalkitError
from evalkit.data.lock import LockedFile, LockedRepo, read_lock, write_lock
from evalkit.data.subtitles import parse_srt
from evalkit.integrations.interchange.detect import read_results_files
from evalkit.metrics.anls import Anls
from evalkit.models.checkpoints.files import read_json, tensors_of
from evalkit.report.leaderboard.page import leaderboard_page
from evalkit.report.leaderboard.table import FIXED, read
from evalkit.scoring.predictions import score_file
from evalkit.store import Manifest, Record, RunDir, SystemEntry
from evalkit.store.journal import format_line, read_journal
from evalkit.task import Rows
from tools.golden.check import NoCases, check_folder

FORMAT_1 = Path(__file__).parents[1] / "store/format1/manifest.json"
CASES = int(os.environ.get("EVALKIT_FUZZ", "20000"))
AT_ONCE = 25
TOKENS = [
    b"NaN",
    b"Infinity",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"',
    b"[" * 3000,
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x00",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\r",
    b"\n",
    b"\t",
    b",",
    b":",
    b"- ",
    b".nan",
    b".inf",
    b"!!python/object:os.system x",
    b"&a [*a]",
    b"*a",
    b"<<: *a",
    b"1_000",
    b"0x10",
    b"=1",
    "\u202e".encode(),
    b"0.1.2",
    b"2024-13-45",
    b"%",
    b"'",
    b"|",
    b"? ",
    b"--- \n",
    b"\x1b[31m",
]
RECORD = Record(
    arm="a@mrope", model="a", rope="mrope", task="t", sample_id="1", index=0, key="k1", cluster_id="c",
    prompt="What?", reference=["x"], raw="x", finish_reason="stop",
)  # fmt: skip
MANIFEST = Manifest(
    created="2026-01-01T00:00:00+00:00",
    arms=(SystemEntry(arm="a@mrope", model="a", rope="mrope", family="f", fingerprint="0", box_space="abs"),),
)
ROW = dict.fromkeys(FIXED, "0.5") | {
    "schema": "3", "label": "", "model": "a", "rope": "mrope", "fingerprint": "f" * 8, "protocol": "full",
    "n": "3",
    "evalkit": "0.1.0", "date": "2026-01-01", "revisions": '{"doc": "main"}', "doc": "0.5",
    "tasks": json.dumps({"doc": {"category": "image", "row": "doc", "metric": "anls", "range": [0.0, 1.0],
                                 "n": 3, "expected": 3}}),
}  # fmt: skip


def policy(path: Path) -> None:
    found = read_policy(path)
    for limits in (each.limits for each in (found.default, *found.tasks.values())):
        assert isinstance(limits, Limits)
        assert limits.relative_drop is None or 0 <= limits.relative_drop <= 1
        assert 0 <= limits.identical <= 1
        assert 0 <= limits.drop <= 1
        assert 0 <= limits.flips <= 100_000


def stored(path: Path) -> None:
    for samples in baseline.read(path.parents[1], {}).values():
        assert all(each.score is None or abs(each.score) < float("inf") for each in samples.values())


def journal(path: Path) -> None:
    assert all(record == RECORD for record in read_journal(path.parent).records.values())


def records(path: Path) -> None:
    assert all(record == RECORD for record in RunDir(path.parent).records())


def manifest(path: Path) -> None:
    assert RunDir(path.parent).manifest() == MANIFEST


def earlier_manifest(path: Path) -> None:
    RunDir(path.parent).manifest()


def board(path: Path) -> None:
    read(path)
    leaderboard_page(path)


def golden(path: Path) -> None:
    try:
        list(check_folder(path.parent))
    except NoCases:
        return


@dataclass(frozen=True)
class Format:
    """A file as it should be, and what reads it; ``share`` of all cases."""

    name: str
    seed: bytes
    reader: Callable[[Path], object]
    share: float


def scored(path: Path) -> None:
    score_file(path, find_metric=lambda name: Anls())


def _parquet() -> bytes:
    file = io.BytesIO()
    columns = {"id": [1, 2], "question": ["What?", "Who?"], "image": [{"bytes": b"x" * 50, "path": None}] * 2}
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


FORMATS = (
    Format(
        "policy.yaml",
        b"limits: close\nidentical: 0.9\ntiers: {advisory: {drop: 0.1}}\n"
        b"tasks:\n  a: {tier: advisory, limits: loose, relative_drop: 0.05}\n",
        policy,
        0.04,
    ),
    Format(
        "run.yaml",
        b"model: [tiny]\nrope: mrope\ntasks: mini\nlimit: 3\nrate_limits: {unparsed: 0.5}\n",
        load_config,
        0.02,
    ),
    Format("base/arm/task.tsv", b'sample\tscore\tanswer\n"1"\t0.5\t"yes"\n"2"\tfailed\t""\n', stored, 0.25),
    Format("evalkit.lock.json", b"", read_lock, 0.2),
    Format("journal/worker-000.jsonl", format_line(RECORD.to_json()) * 2, journal, 0.15),
    Format("manifest.json", b"", manifest, 0.05),
    Format("old/manifest.json", FORMAT_1.read_bytes(), earlier_manifest, 0.02),
    Format("records.jsonl", format_line(RECORD.to_json()), records, 0.1),
    Format("board.csv", pd.DataFrame([ROW]).to_csv(index=False).encode(), board, 0.02),
    Format(
        "cases.jsonl",
        b'{"task": "t", "id": "1", "prediction": "x", "reference": ["x"], "group": {"a": 1}}\n',
        scored,
        0.08,
    ),
    Format(
        "m_samples_t.jsonl",
        b'{"doc_id": 0, "target": "A", "filtered_resps": ["A"], "resps": [["A"]]}\n',
        lambda path: read_results_files([path]),
        0.04,
    ),
    Format(
        "m_t.tsv",
        b"index\tquestion\tanswer\tprediction\n0\tWhat?\tA\tA\n",
        lambda path: read_results_files([path]),
        0.01,
    ),
    Format(
        "rows.jsonl",
        b'{"id": 1, "question": "What?", "answer": "A"}\n' * 2,
        lambda path: list(Rows(str(path)).rows(None)),
        0.02,
    ),
    Format(
        "rows.csv",
        b"id,question,answer\n1,What?,A\n2,What?,B\n",
        lambda path: list(Rows(str(path)).rows(None)),
        0.02,
    ),
    Format("rows.parquet", _parquet(), lambda path: list(Rows(str(path)).rows(None)), 0.02),
    Format("config.json", b'{"model_type": "qwen2_5_vl", "vocab_size": 8}', read_json, 0.02),
    Format("model.safetensors", save({"a": np.zeros((2, 3)), "b": np.ones(1)}), tensors_of, 0.03),
    Format(
        "film.srt",
        b"1\n00:00:01,000 --> 00:00:02,000\nText\n",
        lambda path: parse_srt(path.read_text(encoding="utf-8", errors="replace")),
        0.01,
    ),
)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with a few things done to it."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        start = chance.randint(0, len(content))
        end = min(len(content), start + chance.choice((0, 1, 1, 2, 5, 20)))
        what = chance.random()
        if what < 0.25:
            content = content[:start] + bytes([chance.randrange(256)]) + content[start + 1 :]
        elif what < 0.35:
            content = content[:start]
        elif what < 0.75:
            content = content[:start] + chance.choice(TOKENS) + content[end:]
        elif what < 0.9:
            content = content[:end] + content[start:]
        elif what < 0.98:
            content = content[:start] + content[end:]
        else:
            content = content.decode("utf-8", "replace").encode(
                chance.choice(("utf-16", "latin-1")), "replace"
            )
    return content


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_damaged_file_is_one_of_our_errors(form: Format, tmp_path: Path) -> None:
    path = tmp_path / form.name
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = form.seed
    if form.name == "evalkit.lock.json":
        file = LockedFile(3, "sha256", "0" * 64)
        write_lock(
            path, {"a/b": LockedRepo("main", "0" * 40, {"x/test": ("t.parquet",)}, {"t.parquet": file})}
        )
        seed = path.read_bytes()
    if form.reader is manifest:
        RunDir(path.parent).update(lambda known: MANIFEST, MANIFEST.created)
        seed = path.read_bytes()
    attacked(form, path, seed)


def test_a_damaged_case_of_golden_data_is_no_case(shared: Path, tmp_path: Path) -> None:
    for suffix in ("json", "npz"):
        path = tmp_path / suffix / f"s2_one_image.{suffix}"
        path.parent.mkdir()
        for each in ("json", "npz"):
            shutil.copy(shared / "golden" / f"s2_one_image.{each}", path.parent)
        attacked(Format(path.name, b"", golden, 0.004), path, path.read_bytes())


def attacked(form: Format, path: Path, seed: bytes) -> None:
    """Try damaged forms of a file that is as it should be."""
    path.write_bytes(seed)
    form.reader(path)  # what the others are made of is read

    @settings(max_examples=max(1, int(CASES * form.share) // AT_ONCE), database=None, deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.integers(0, 2**32))
    def attack(number: int) -> None:
        for case in range(number, number + AT_ONCE):
            path.write_bytes(damaged(seed, random.Random(case)))
            message = None
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    form.reader(path)
            except EvalkitError as error:
                message = error
            except Exception as error:
                content = path.read_bytes()[:300]
                raise AssertionError(f"case {case} of {form.name}: {content!r}") from error
            assert message is None or (message.what and message.why and len(str(message)) < 5000), case

    attack()


@pytest.mark.parametrize(
    ("content", "reader"),
    [
        (b'{"task": "t", "prediction": "x", "prediction": "y", "reference": ["x"]}\n', scored),
        (b'{"format": 1, "repositories": {}, "repositories": {}}', read_lock),
    ],
)
def test_a_name_that_stands_there_twice_is_refused(
    content: bytes, reader: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(EvalkitError, match="stands there twice"):
        reader(path)
