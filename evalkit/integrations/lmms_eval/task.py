"""``--tasks lmms:NAME``: tasks of lmms-eval with its data, prompts and scoring, on our engine.

lmms-eval runs in a child process (:mod:`evalkit.integrations.lmms_eval.server`), of this interpreter or of
another environment's: importing it takes long and changes other modules, and its tasks may call ``sys.exit``.
Its scores are stored with the run; showing them needs no lmms-eval.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.task import Row, Task
from evalkit.core.types import Category, FixedPart, MediaRef, Text
from evalkit.data.cache import cache_root
from evalkit.metrics.base import Answer, ExternalScores, Score, Scored

PREFIX = "lmms:"
_BATCH = 64
_DOC = "doc"


@dataclass
class LmmsProcess:
    """A running server process; it ends with this one."""

    python: str
    process: subprocess.Popen[str]
    stderr_file: IO[str]

    @classmethod
    def start(cls, python: str) -> LmmsProcess:
        """Start the process.

        Raises:
            EnvironmentProblem: there is no such interpreter.
        """
        script = Path(__file__).with_name("server.py")
        stderr_file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own interpreter
                [python, str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr_file,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise EnvironmentProblem(
                f"interpreter `{python}`", f"it can't be started: {error.strerror}", "correct `--lmms-python`"
            ) from None
        return cls(python, process, stderr_file)

    def ask(self, what: str, **request: Any) -> Any:
        """Send one request and return its answer; ``what`` names it in messages.

        Raises:
            EnvironmentProblem: the child died, has no lmms-eval, or the task's code failed.
            UsageError: the task needs something that the engine doesn't do.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        try:
            reply = json.loads(line)
        except ValueError:
            raise self._died(what) from None
        if "unsupported" in reply:
            raise UsageError(what, f"it needs {reply['unsupported']}", "run it with lmms-eval itself")
        if "error" in reply:
            if "No module named 'lmms_eval'" in reply["error"]:
                raise EnvironmentProblem(
                    what,
                    f"`{self.python}` has no lmms-eval",
                    "pip install 'evalkit[lmms]', or give another environment's interpreter with "
                    "`--lmms-python`",
                )
            raise EnvironmentProblem(what, f"lmms-eval says: {reply['error']}", "see its own documentation")
        return reply["ok"]

    def _died(self, what: str) -> EnvironmentProblem:
        code = self.process.wait()
        self.stderr_file.seek(0)
        last = [line.strip() for line in self.stderr_file.read().splitlines() if line.strip()][-1:]
        why = f"the process of lmms-eval ended with code {code}" + (f": {last[0]}" if last else "")
        return EnvironmentProblem(what, why, "repeat the command; what was answered is stored")


@lru_cache(maxsize=1)  # starting it takes long
def _process(python: str) -> LmmsProcess:
    return LmmsProcess.start(python)


def load(name: str, python: str | None = None, include: Sequence[str] = ()) -> list[Task]:
    """The task, or the tasks of the group, that ``lmms:NAME`` names.

    Raises:
        UsageError: lmms-eval knows no such task, or it needs what the engine doesn't do.
        EnvironmentProblem: lmms-eval is not there, or fails.
    """
    bare = name.removeprefix(PREFIX)
    child = _process(python or sys.executable)
    found = child.ask(f"task `{name}`", op="open", task=bare, include=[str(Path(each)) for each in include])
    if found.get("unknown"):
        hint = f" Did you mean `{PREFIX}{found['near'][0]}`?" if found["near"] else ""
        raise UsageError(
            f"task `{name}`",
            f"lmms-eval has none of this name among {found['count']}.{hint}",
            "see `lmms-eval tasks`, and give folders with your own by `--lmms-include`",
        )
    return [_task(child, each, found["version"]) for each in found["tasks"]]


def _task(child: LmmsProcess, bare: str, version: str) -> Task:
    name = PREFIX + bare
    facts = child.ask(f"task `{name}`", op="describe", task=bare)
    if facts["kind"] != "generate_until":
        raise UsageError(
            f"task `{name}`", f"it is of the kind {facts['kind']}", "evalkit only generates answers"
        )
    dataset = LmmsDataset(child, bare, facts)
    metric = LmmsMetric(child, bare, f"lmms-eval {version}", facts["metrics"][0])
    sampled = " The task asks for sampling; evalkit decodes greedily." if facts["sampled"] else ""
    return Task(
        name=name,
        category=dataset.category(),
        title=f"{bare} (lmms-eval {version})",
        dataset=dataset,
        prompt=lambda row: row["parts"],
        reference=lambda row: row["reference"],
        metric=metric,
        max_new_tokens=facts["max_new_tokens"],
        id=lambda row: str(row["id"]),
        cluster=lambda row: row["cluster"],
        links={_DOC: lambda row: row["id"]},
        size=facts["docs"],
        notes=f"Data, prompts and scoring of lmms-eval {version}, task version {facts['version']}.{sampled}",
    )


@dataclass(frozen=True)
class LmmsDataset:
    """The documents of one of lmms-eval's tasks, rendered by it."""

    child: LmmsProcess
    task: str
    facts: dict[str, Any]

    def rows(self, data_root: str | None) -> Iterator[Row]:
        """Yield documents in its order; lmms-eval finds its data itself, whatever ``data_root`` is."""
        for start in range(0, self.facts["docs"], _BATCH):
            yield from self._rows(range(start, min(start + _BATCH, self.facts["docs"])))

    def category(self) -> Category:
        """``video`` if the first document has one, else ``image``."""
        first = next(iter(self._rows(range(1))), None)
        kinds = [part.kind for part in first["parts"] if isinstance(part, MediaRef)] if first else []
        return "video" if "video" in kinds else "image"

    def describe(self) -> dict[str, str]:
        """What stands in the manifest."""
        return {name: self.facts[name] for name in ("repo", "config", "split")} | {"revision": "lmms-eval's"}

    def _rows(self, numbers: Sequence[int]) -> Iterator[Row]:
        media = str(cache_root() / "lmms")
        what = f"task `{PREFIX}{self.task}`"
        for doc in self.child.ask(what, op="render", task=self.task, docs=list(numbers), media=media):
            parts = tuple(map(parse_part, doc["parts"]))
            paths = [str(part.path) for part in parts if isinstance(part, MediaRef)]
            yield {**doc, "parts": parts, "cluster": " ".join(paths) or str(doc["id"])}


@dataclass(frozen=True)
class LmmsMetric:
    """The scores that lmms-eval gives all answers to one of its tasks."""

    child: LmmsProcess
    task: str
    scored_by: str
    name: str
    range: tuple[float, float] = (0.0, 1.0)

    def score(self, answer: Answer) -> Score:
        """Give no score: answers are scored together, by :meth:`judge`."""
        return Score(None, parsed=answer.prediction.strip())

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Return no figures: :meth:`judge` gives them."""
        return {}

    def judge(self, answers: Sequence[Answer]) -> ExternalScores:
        """Have lmms-eval process and aggregate the answers."""
        numbered = [[answer.groups[_DOC], answer.prediction] for answer in answers]
        found = self.child.ask(f"task `{PREFIX}{self.task}`", op="score", task=self.task, answers=numbered)
        values = {number: each for number, each in found["values"]}
        figures: dict[str, float] = found["figures"]
        primary = self.name if self.name in figures else next(iter(figures), self.name)
        scores = [
            Score(values.get(number, {}).get(primary), parsed=text.strip(), detail=values.get(number, {}))
            for number, text in numbered
        ]
        return ExternalScores(scores, figures, primary)


def parse_part(raw: dict[str, Any]) -> FixedPart:
    """A part of a prompt, as the child describes it."""
    if raw["type"] == "text":
        return Text(raw["text"])
    return MediaRef(raw["type"], path=raw["path"], start=raw.get("start"), end=raw.get("end"))
