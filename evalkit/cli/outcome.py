"""What a finished run says: the table, where it is stored, and what the exit code means."""

from __future__ import annotations

from evalkit.cli.layout import room, show
from evalkit.core.console import say
from evalkit.core.errors import ExitCode
from evalkit.core.strict_json import to_json
from evalkit.report import tables
from evalkit.report.comparison import Comparison
from evalkit.scoring.finalize import RunResult
from evalkit.store import IMPORTED


def show_result(outcome: RunResult, as_json: bool) -> int:
    """Print the comparison table of a run, and return the exit code that its state deserves."""
    comparison = outcome.comparison
    if as_json:
        files = [str(path) for path in outcome.submissions]
        found = {"run": str(outcome.run.path), "submissions": files, **comparison.to_json()}
        say(to_json(found))
    else:
        _show(outcome, comparison)
    if outcome.damaged:
        more = f"; and {len(outcome.damaged) - 5} more" if len(outcome.damaged) > 5 else ""
        say(
            f"evalkit: {len(outcome.damaged)} lines of the journal can't be read; they count for nothing\n"
            f"  why: {'; '.join(outcome.damaged[:5])}{more}\n"
            "  fix: the run's command runs their samples again, if they have no other answer",
            err=True,
        )
    if outcome.missing or outcome.failed:
        say(
            f"evalkit: incomplete: {outcome.failed} failed and {outcome.missing} missing samples\n"
            f"  why: see `error` in {outcome.run.path / 'records.jsonl'}{_first_error(outcome)}\n"
            f"  fix: {_next_step(outcome)}",
            err=True,
        )
    unreliable = comparison.unreliable()
    if unreliable:
        more = f"; and {len(unreliable) - 1} more" if len(unreliable) > 1 else ""
        say(
            f"evalkit: unreliable: {len(unreliable)} of the scores\n"
            f"  why: {unreliable[0]}{more}\n"
            "  fix: look at the answers (`evalkit report`); allow more by `--rate-limit NAME=SHARE`",
            err=True,
        )
    if outcome.problems:
        return int(outcome.problems[0].exit_code)
    return int(ExitCode.INCOMPLETE if outcome.missing or outcome.failed or unreliable else ExitCode.OK)


def _next_step(outcome: RunResult) -> str:
    if outcome.invocation and outcome.invocation.engine == IMPORTED:
        return "import a file that has them; the other program must run these samples again"
    return "mend the cause and run the same command again; only these samples are run"


def _show(outcome: RunResult, comparison: Comparison) -> None:
    if comparison.columns:
        print_comparison(comparison)
    for arm, audit in (outcome.invocation.audits if outcome.invocation else {}).items():
        differing = ", ".join(audit.different) or "none"
        say(
            f"audit of {arm}: {audit.repeated} answers with a margin below {audit.margin} "
            f"given again alone; different: {differing}"
        )
    say(f"stored in {outcome.run.path}")
    for path, target in outcome.submissions.items():
        say(f"answers to be scored by {target}: {path}")


def print_comparison(comparison: Comparison, breakdown: bool = False) -> None:
    """Draw the table; where it is wider than the terminal, it goes on below."""
    show(tables.terminal(comparison, room(), breakdown))


def _first_error(outcome: RunResult) -> str:
    first = next((record for record in outcome.records if record.failed), None)
    return f"; the first, {first.task} {first.sample_id}: {first.error}" if first else ""
