"""Whether arms may be compared: they were asked the same questions, about the same media, in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from evalkit.core.errors import UsageError
from evalkit.report.comparison import Arm
from evalkit.store import IMPORTED, Evaluation, ScoredWith, Scoring, TaskEntry
from evalkit.store.records import Record
from evalkit.store.records_table import StoredRecords, filtered, sample_ids

# Fields of a task in a manifest that change its scores, and what messages call them.
_PROTOCOL = {
    "metric": "metric",
    "max_new_tokens": "limit of new tokens",
    "scored_by": "judge",
    "chosen_by": "way of choosing an option (`--mc-logits`)",
}


def check_comparable(arms: Sequence[Arm], records: Mapping[str, Mapping[str, Sequence[Record]]]) -> None:
    """Refuse to compare arms that were asked different questions.

    ``records`` maps arm and task to that arm's records. Sample sets, references and media (content,
    frames, size) must be the same for every arm; prompts too, unless the families differ, since each has its
    own chat format.

    Raises:
        UsageError: names the task, the two arms and the first sample that differs.
    """
    for task in dict.fromkeys(task for tasks in records.values() for task in tasks):
        having = [arm for arm in arms if records[arm.name].get(task)]
        for arm in having[1:]:
            first = having[0]
            problem = _difference(records[first.name][task], records[arm.name][task], first, arm)
            if problem:
                raise UsageError(
                    f"`{first.name}` ({first.run}) and `{arm.name}` ({arm.run}) can't be compared on {task}",
                    problem,
                    "run both with the same `--limit`, data and evalkit version; or compare what they share "
                    "(`--allow-mismatch`)",
                )


def refuse_differences(differences: Iterable[tuple[str, str]], fix: str) -> None:
    """Refuse to compare what differs; each difference with where it is.

    Raises:
        UsageError: names the first, and says how to go on: ``fix``.
    """
    for where, problem in differences:
        raise UsageError(f"{where} can't be compared", problem, fix)


def origin_differences(evaluations: Iterable[tuple[str, Evaluation]]) -> Iterator[tuple[str, str]]:
    """Tasks that different programs asked different arms; each evaluation comes with its arm and run."""
    first: dict[str, tuple[str, Evaluation]] = {}
    for who, each in evaluations:
        other, known = first.setdefault(each.task.name, (who, each))
        one, two = (found.protocol.answered_by or "evalkit" for found in (known, each))
        if one != two:
            yield (
                f"{each.task.name} of `{other}` and `{who}`",
                f"one was asked by {one}, the other by {two}: prompts, pixels, frames and limits differ",
            )


def answering_differences(evaluations: Iterable[tuple[str, Evaluation]]) -> Iterator[tuple[str, str]]:
    """Tasks that different arms were asked by different recipes, or answered under other conditions; each
    evaluation comes with its arm and run.
    """
    first: dict[str, tuple[str, Evaluation]] = {}
    for who, each in evaluations:
        other, known = first.setdefault(each.task.name, (who, each))
        one, two = known.protocol, each.protocol
        if one.recipe != two.recipe:
            what = f"their recipe (`--recipe`) differs: {one.recipe} and {two.recipe}"
        elif one.n != two.n:
            what = f"their number of answers to each question (`--n`) differs: {one.n} and {two.n}"
        elif one.answering != two.answering:
            names = sorted(
                name
                for name in {*one.answering, *two.answering}
                if one.answering.get(name) != two.answering.get(name)
            )
            shown = (
                f"{name} {one.answering.get(name, 'none')} and {two.answering.get(name, 'none')}"
                for name in names
            )
            what = f"they were answered differently: {'; '.join(shown)}"
        else:
            continue
        yield f"{each.task.name} of `{other}` and `{who}`", what


def engine_name(arm: Arm) -> str:
    """What computed an arm's answers, without its version; empty if that is not known."""
    return arm.engine.partition(" ")[0]


def engine_differences(arms: Iterable[Arm]) -> Iterator[tuple[str, str]]:
    """Arms that were answered by another engine than the first one was."""
    known = [arm for arm in arms if arm.engine]
    for arm in known[1:]:
        first = known[0]
        if engine_name(arm) != engine_name(first):
            yield (
                f"`{first.name}` ({first.run}) and `{arm.name}` ({arm.run})",
                f"one was answered by {first.engine}, the other by {arm.engine}, which round differently",
            )


def scoring_differences(runs: Mapping[str, Scoring]) -> Iterator[tuple[str, str]]:
    """Runs that separate reasoning from answers differently."""
    first = next(iter(runs.items()), None)
    for run, scoring in runs.items():
        if first is not None and scoring.reasoning != first[1].reasoning:
            rules = f"{first[1].reasoning} and {scoring.reasoning}"
            words = "rule that separates reasoning from answers (`--reasoning`)"
            yield f"`{first[0]}` and `{run}`", f"their {words} differs: {rules}"


def protocol_differences(tasks: Iterable[tuple[str, TaskEntry]]) -> Iterator[tuple[str, str]]:
    """Tasks that were asked or scored differently, and in what; each comes with its arm and run."""
    first: dict[str, tuple[str, TaskEntry]] = {}
    for who, task in tasks:
        other, known = first.setdefault(task.name, (who, task))
        for field, words in _PROTOCOL.items():
            one, two = getattr(known, field), getattr(task, field)
            if one != two:
                yield f"{task.name} of `{other}` and `{who}`", f"their {words} differs: {one} and {two}"


def metric_differences(evaluations: Iterable[tuple[str, Evaluation]]) -> Iterator[tuple[str, str]]:
    """Tasks whose metrics have one name and other parameters, or code of their own that differs; each
    evaluation comes with its arm and run.
    """
    first: dict[str, tuple[str, ScoredWith]] = {}
    for who, each in evaluations:
        found = each.scored_with
        if found is None:
            continue
        other, known = first.setdefault(each.task.name, (who, found))
        where = f"{each.task.name} of `{other}` and `{who}`"
        one, two = ((by.metric, by.parameters) for by in (known, found))
        if one != two:
            yield where, f"their metrics differ: {_spelled(known)} and {_spelled(found)}"
        elif found.parameters is None and known.task != found.task:
            yield where, f"their metric `{found.metric}` is of the task's own code, which differs"


def _spelled(known: ScoredWith) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in (known.parameters or {}).items())
    return f"{known.metric}({given})"


def restrict_to_shared(arms: Sequence[Arm], records: dict[str, dict[str, Sequence[Record]]]) -> list[str]:
    """Restrict ``records``, in place, to the samples of each task that all arms have.

    Returns footnotes on what was left out and what else differs.
    """
    notes = []
    for task in dict.fromkeys(task for tasks in records.values() for task in tasks):
        having = [arm for arm in arms if records[arm.name].get(task)]
        known = [set(sample_ids(records[arm.name][task])) for arm in having]
        shared = set.intersection(*known)
        for arm, ids in zip(having, known, strict=True):
            found = records[arm.name][task]
            records[arm.name][task] = filtered(found, [each in shared for each in sample_ids(found)])
            if ids != shared:
                notes.append(
                    f"{arm.name} {task}: only the {len(shared)} of its {len(ids)} samples that all arms have"
                )
        for arm in having[1:]:
            first = having[0]
            problem = _difference(records[first.name][task], records[arm.name][task], first, arm)
            if problem:
                notes.append(f"mismatch on {task} between {first.name} and {arm.name}: {problem}")
    return notes


def _difference(first: Sequence[Record], second: Sequence[Record], one: Arm, two: Arm) -> str | None:
    """The first difference between two arms' questions, or None; an imported run's media are not known."""
    prompts = one.family == two.family
    media = IMPORTED not in (one.family, two.family)
    if only := sorted(set(sample_ids(first)) ^ set(sample_ids(second))):
        return f"{len(only)} samples are in one of them only, such as `{only[0]}`"
    names = ["reference", *(["media"] if media else []), *(["prompt"] if prompts else [])]
    first, second = _unlike(first, second, names)
    left = {record.sample_id: record for record in first}
    right = {record.sample_id: record for record in second}
    for sample_id, record in left.items():
        other = right[sample_id]
        if record.failed or other.failed:
            continue
        if media and record.media != other.media:
            return f"sample `{sample_id}` was shown with different media (content, frames or size)"
        if record.reference != other.reference:
            return f"sample `{sample_id}` has different references"
        if prompts and record.prompt != other.prompt:
            return f"sample `{sample_id}` was asked with different prompts"
    return None


def _unlike(
    first: Sequence[Record], second: Sequence[Record], names: Sequence[str]
) -> tuple[Sequence[Record], Sequence[Record]]:
    """The samples that may differ: of stored ones in the same order, those whose digests differ."""
    if (
        not (isinstance(first, StoredRecords) and isinstance(second, StoredRecords))
        or first.ids() != second.ids()
    ):
        return first, second
    differs = [False] * len(first)
    for name in names:
        pairs = zip(differs, first.digests(name), second.digests(name), strict=True)
        differs = [known or one != other for known, one, other in pairs]
    return first.only(differs), second.only(differs)
