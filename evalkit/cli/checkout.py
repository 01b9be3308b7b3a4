"""Commands whose programs are developers' tools: they are in a source checkout, and not in the wheel."""

from __future__ import annotations

from importlib.util import find_spec

from evalkit.core.errors import EnvironmentProblem


def require_tools(command: str, package: str) -> None:
    """Check that ``tools/<package>`` is there, before it is imported.

    Raises:
        EnvironmentProblem: evalkit was installed from a wheel.
    """
    if find_spec("tools") is None or find_spec(f"tools.{package}") is None:
        raise EnvironmentProblem(
            f"`{command}`",
            "its programs are in the source checkout, not in the wheel",
            "install evalkit from a checkout: `pip install --editable .`",
        )
