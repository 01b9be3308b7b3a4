"""The messages that every video backend gives."""

from __future__ import annotations

from evalkit.core.errors import EnvironmentProblem, MediaError


def damaged(path: str, why: str) -> MediaError:
    """The file can't be opened or decoded."""
    return MediaError(
        f"video `{path}` can't be used", why, "replace the file (or fetch it again) and repeat the command"
    )


def lost_frame(path: str, wanted: int, count: int) -> MediaError:
    """A chosen frame can't be decoded; showing fewer frames silently would change the question."""
    return damaged(path, f"frame {wanted} of its {count} can't be decoded")


def missing(backend: str, why: str) -> EnvironmentProblem:
    """The backend isn't installed or can't be loaded."""
    return EnvironmentProblem(
        f"the video backend `{backend}` can't be loaded",
        why.splitlines()[0] if why else "it is not installed",
        f"install it, pip install 'evalkit[{backend}]' (torchcodec: and FFmpeg's libraries), or use pyav",
    )


def check_places(path: str, backend: str, counted: int, container: str, packets: int) -> None:
    """Make sure that a decoder which is asked for frames by their place counts as the packets do.

    Raises:
        MediaError: it doesn't, and would show other frames.
    """
    if container == "mpegts":
        why = f"{backend} leaves out frames of transport streams, so its count of them can't be relied on"
    elif counted != packets:
        why = f"{backend} counts {counted} frames in it, and its packets make {packets}"
    else:
        return
    raise MediaError(f"video `{path}` can't be read with {backend}", why, "use the video backend `pyav`")
