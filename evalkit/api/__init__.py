"""The public functions: what the command line does, from Python.

>>> from evalkit import evaluate, compare  # doctest: +SKIP
>>> evaluate("tiny", "mini", ropes=["mrope", "mrope-i"], output="results/a")  # doctest: +SKIP
"""

from evalkit.api.running import (
    diagnose_attention,
    diff_runs,
    engine_parity,
    evaluate,
    export_inspect,
    import_results,
    plan,
    run,
    score,
    score_file,
    score_run,
    verify,
    with_default_data_root,
)
from evalkit.api.tables import (
    advise,
    backend_parity,
    check_leaderboard,
    compare,
    leaderboard,
    probe,
    report,
)

__all__ = [
    "advise",
    "backend_parity",
    "check_leaderboard",
    "compare",
    "diagnose_attention",
    "diff_runs",
    "engine_parity",
    "evaluate",
    "export_inspect",
    "import_results",
    "leaderboard",
    "plan",
    "probe",
    "report",
    "run",
    "score",
    "score_file",
    "score_run",
    "verify",
    "with_default_data_root",
]
