"""Whether the hub answers: asked once, with a short time limit, before anything is wanted of it."""

from __future__ import annotations

from functools import lru_cache

_SECONDS = 10.0


def unreachable() -> str | None:
    """Why the hub can't be reached from this process, or None; it is asked once."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set: the hub is not asked"
    return _asked(constants.ENDPOINT)


@lru_cache(maxsize=8)
def _asked(endpoint: str) -> str | None:
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=_SECONDS)
    except Exception as error:  # noqa: BLE001 - the hub's HTTP client changes
        return (
            f"the hub ({endpoint}) can't be reached: {' '.join(str(error).split()) or type(error).__name__}"
        )
    return None
