"""Responses of the engine, from what was prepared and what was generated."""

from __future__ import annotations

from evalkit.core.types import Generation, Prepared, Response


def response_of(item: Prepared, generation: Generation, seconds: float) -> Response:
    """What was generated for a prompt, in so many seconds."""
    return Response(
        key=item.key,
        text=generation.text,
        token_ids=generation.token_ids,
        finish_reason=generation.finish_reason,
        error=generation.error,
        prompt_tokens=item.length,
        visual_tokens=sum(medium.tokens for medium in item.media),
        media=item.media,
        seconds={"prepare": round(item.seconds, 6), "generate": round(seconds, 6)},
        margin=generation.margin if generation.margin < float("inf") else None,
        prompt=item.prompt,
    )


def error_of(item: Prepared, error: str) -> Response:
    """A prompt that has no answer, and why."""
    return Response(
        key=item.key,
        text="",
        token_ids=(),
        finish_reason="error",
        error=error,
        prompt_tokens=item.length,
        visual_tokens=sum(medium.tokens for medium in item.media),
        media=item.media,
        seconds={"prepare": round(item.seconds, 6)},
        prompt=item.prompt,
    )
