"""Responses, from what was prepared and what was generated."""

from __future__ import annotations

from evalkit.core.types import Generation, Prepared, Response


def response_of(key: str, item: Prepared, generation: Generation, seconds: float | None = None) -> Response:
    """The response to a prompt; ``seconds`` is its share of the model's time, None if it is not known."""
    times = {"prepare": round(item.seconds, 6)}
    return Response(
        key=key,
        text=generation.text,
        token_ids=generation.token_ids,
        finish_reason=generation.finish_reason,
        error=generation.error,
        prompt_tokens=item.length,
        visual_tokens=sum(medium.tokens for medium in item.media),
        media=item.media,
        seconds=times if seconds is None else {**times, "generate": round(seconds, 6)},
        margin=generation.margin if generation.margin < float("inf") else None,
        prompt=item.prompt,
        margins=generation.margins,
    )


def error_of(key: str, error: str) -> Response:
    """The response to a request that has no answer, before it was prepared."""
    return Response(key, "", (), "error", error)
