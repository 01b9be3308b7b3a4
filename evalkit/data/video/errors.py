"""The messages that every video backend gives."""

from __future__ import annotations

from evalkit.errors import EnvironmentProblem, MediaError


def damaged(path: str, why: str) -> MediaError:
    """The file can't be opened or decoded."""
    return MediaError(
        f"video `{path}` can't be used", why, "replace the file (or fetch it again) and repeat the command"
    )


def lost_frame(path: str, wanted: int, promised: int) -> MediaError:
    """A chosen frame can't be decoded; showing fewer frames silently would change the question."""
    return damaged(path, f"frame {wanted} of the {promised} that its container promises can't be decoded")


def missing(backend: str, why: str) -> EnvironmentProblem:
    """The backend isn't installed or can't be loaded."""
    return EnvironmentProblem(
        f"the video backend `{backend}` can't be loaded",
        why.splitlines()[0] if why else "it is not installed",
        f"install it, pip install 'evalkit[{backend}]' (torchcodec: and FFmpeg's libraries), or use pyav",
    )
