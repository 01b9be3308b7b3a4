"""The leaderboard CSV: one row per model and variant, updated in place.

Columns, in this order: ``schema``, ``model``, ``rope``, ``fingerprint``, ``limit``, ``n``,
``evalkit``, ``date``, ``revisions``, the means ``image``, ``video``, ``grounding``, ``overall``,
then every task's primary score at full precision, sorted by name. Missing values are empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import UsageError
from evalkit.report.aggregate import CATEGORIES
from evalkit.report.comparison import Comparison

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
KEY = ("model", "rope", "fingerprint", "limit")
FIXED = ("schema", *KEY, "n", "evalkit", "date", "revisions", *CATEGORIES, "overall")


@dataclass(frozen=True)
class RunFacts:
    """What a row says about the run that it came from."""

    comparison: Comparison
    limit: int | None
    version: str
    date: str
    revisions: Mapping[str, str]


def rows_of(facts: RunFacts) -> list[dict[str, Any]]:
    """One row per arm of a run."""
    rows = []
    for arm in facts.comparison.arms:
        cells = facts.comparison.cells[arm.name]
        rows.append(
            {
                "schema": SCHEMA,
                "model": arm.model,
                "rope": arm.rope,
                "fingerprint": arm.fingerprint,
                "limit": "" if facts.limit is None else str(facts.limit),
                "n": sum(cell.estimate.n for cell in cells.values()),
                "evalkit": facts.version,
                "date": facts.date,
                "revisions": json.dumps(dict(facts.revisions), sort_keys=True),
                **facts.comparison.means(arm.name),
                **{task: cell.estimate.value for task, cell in cells.items()},
            }
        )
    return rows


def write(target: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write ``rows`` into ``target`` and return how many rows it then has.

    A row replaces the one with the same model, variant, checkpoint and limit; writing the same
    rows twice changes nothing.

    Raises:
        UsageError: ``target`` exists and is no leaderboard of this schema.
    """
    import pandas as pd

    table = pd.DataFrame(list(rows)).astype({name: str for name in KEY})
    if target.exists():
        table = pd.concat([read(target), table], ignore_index=True)
    table = table.drop_duplicates(subset=list(KEY), keep="last")
    tasks = sorted(set(table.columns) - set(FIXED))
    table = table.reindex(columns=[*FIXED, *tasks]).sort_values(list(KEY), kind="stable")
    target.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(target, index=False)
    return len(table)


def read(target: Path) -> pd.DataFrame:
    """Read a leaderboard CSV with the types that :func:`write` gave it.

    Raises:
        UsageError: the file is no leaderboard of this schema.
    """
    import pandas as pd

    try:
        table = pd.read_csv(target, dtype={name: str for name in KEY}, keep_default_na=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"leaderboard `{target}`", str(error), "give another file, or delete it") from None
    if "schema" not in table.columns or (table["schema"] != SCHEMA).any():
        raise UsageError(
            f"leaderboard `{target}` has another schema",
            f"this evalkit writes schema {SCHEMA}",
            "give another file",
        )
    return table.fillna({name: "" for name in KEY})
