"""The result of a run on the terminal: its table, where it is stored, what is wrong, and the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalkit.cli.layout import room, show
from evalkit.core.console import say
from evalkit.core.errors import ExitCode
from evalkit.core.strict_json import to_json
from evalkit.report import tables
from evalkit.report.backend_parity import BackendParity
from evalkit.report.comparison import Comparison
from evalkit.report.layout import DEFAULT, Layout
from evalkit.store import IMPORTED

if TYPE_CHECKING:
    from evalkit.scoring.finalize import RunResult

_LISTED = 5


def show_result(result: RunResult, as_json: bool) -> int:
    """Print a run's comparison table and problems, and return its exit code."""
    comparison = result.comparison
    if as_json:
        files = [str(path) for path in result.submissions]
        found = {"run": str(result.run.path), "submissions": files, **comparison.to_json()}
        say(to_json(found))
    else:
        _show(result)
    if result.damaged:
        more = f"; and {len(result.damaged) - _LISTED} more" if len(result.damaged) > _LISTED else ""
        say(
            f"evalkit: {len(result.damaged)} lines of the journal can't be read; they count for nothing\n"
            f"  why: {'; '.join(result.damaged[:_LISTED])}{more}\n"
            "  fix: the run's command runs their samples again, if they have no other answer",
            err=True,
        )
    if result.missing or result.failed:
        say(
            f"evalkit: incomplete: {result.failed} failed and {result.missing} missing samples\n"
            f"  why: see `error` in {result.run.path / 'records.jsonl'}{_first_error(result)}\n"
            f"  fix: {_next_step(result)}",
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
    if result.problems:
        return int(result.problems[0].exit_code)
    return int(ExitCode.INCOMPLETE if result.missing or result.failed or unreliable else ExitCode.OK)


def show_parity(found: Sequence[BackendParity], as_json: bool) -> None:
    """Print what two engines answered differently."""
    if as_json:
        say(to_json([each.to_json() for each in found]))
        return
    for each in found:
        changed, samples = len(each.divergences), each.samples
        say(f"{each.arms[0]} by {each.engines[0]}\n{each.arms[1]} by {each.engines[1]}")
        say(f"  {samples} samples that both answered" + (f", {each.failed} that failed" * bool(each.failed)))
        say(f"  answers that differ: {changed} of {samples}{_share(changed, samples)}")
        say(f"  scores that differ: {each.changed_scores} of {samples}{_share(each.changed_scores, samples)}")
        for one in each.divergences[:_LISTED]:
            margin = "margin not known" if one.margin is None else f"margin {one.margin:.4g} logits"
            asked = "" if one.asked_alike else "; ASKED DIFFERENTLY (prompt, media or reference)"
            say(f"    {one.task}/{one.sample_id}: from token {one.token + 1}, {margin}{asked}")
            say(f"      {one.texts[0]!r} and {one.texts[1]!r}")
        if changed > _LISTED:
            say(f"    and {changed - _LISTED} more (`--json` has all)")


def _share(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.1f} %)" if whole else ""


def show_plan(planned: dict[str, Any], as_json: bool) -> None:
    """Print what a run would do (:func:`evalkit.api.plan`)."""
    if as_json:
        say(to_json(planned))
        return
    say(f"would write to {planned['output']}")
    for each in planned["plan"]:
        say(
            f"{each['arm']}  {each['task']}: {each['samples']} samples, "
            f"{each['prompt_tokens']} prompt tokens (longest {each['longest_prompt']}), "
            f"at most {each['max_new_tokens']} new tokens each"
        )
        for problem in each["errors"][:_LISTED]:
            say(f"    can't be asked: {problem}")
        if len(each["errors"]) > _LISTED:
            say(f"    and {len(each['errors']) - _LISTED} more")
        for line in each["prompt"].splitlines():
            say(f"    {line}")


def _next_step(result: RunResult) -> str:
    if result.invocation and result.invocation.engine == IMPORTED:
        return "import a file that has them; the other program must run these samples again"
    return "mend the cause and run the same command again; only these samples are run"


def _show(result: RunResult) -> None:
    if result.comparison.columns:
        print_comparison(result.comparison)
    for arm, audit in (result.invocation.audits if result.invocation else {}).items():
        differing = ", ".join(audit.different) or "none"
        say(
            f"audit of {arm}: {audit.repeated} answers with a margin below {audit.margin} "
            f"given again alone; different: {differing}"
        )
    say(f"stored in {result.run.path}")
    for path, target in result.submissions.items():
        say(f"answers to be scored by {target}: {path}")


def print_comparison(comparison: Comparison, breakdown: bool = False, layout: Layout = DEFAULT) -> None:
    """Draw the table; where it is wider than the terminal, it goes on below."""
    show(tables.terminal(comparison, room(), breakdown, layout))


def _first_error(result: RunResult) -> str:
    first = next((record for record in result.records if record.failed), None)
    return f"; the first, {first.task} {first.sample_id}: {first.error}" if first else ""
