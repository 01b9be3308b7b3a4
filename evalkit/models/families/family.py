"""What is known about a model family before one of its checkpoints is opened; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AuthorFormat:
    """The form in which a family's authors publish it for their own program; transformers doesn't read it.

    Attributes:
        model_type: ``model_type`` of such a checkpoint's ``config.json``.
        summary: what such a checkpoint is, for a message.
        converted: whose repositories hold the same weights in transformers' form.
        example: one of those repositories.
        repositories: pairs of a pattern, searched in a checkpoint's name, and the repository in transformers'
            form (``{}`` stands for the pattern's group); the first match counts.
        converter: the script that makes one form of the other.
    """

    model_type: str
    summary: str
    converted: str
    example: str
    repositories: tuple[tuple[str, str], ...]
    converter: str


@dataclass(frozen=True)
class Family:
    """A model family.

    Attributes:
        name: the ``model_type`` of its checkpoints' ``config.json``.
        summary: one line for ``evalkit models``.
        native_rope: the variant that its released checkpoints were trained with.
        box_space: the convention of the coordinates it answers with (see ``metrics.base.Answer``).
        module: holds ``describe(source, name, variant, load_config)``, which gives a ``ModelInfo``, and (the
            mock aside) ``FAMILY_ADAPTER``; imported when a checkpoint is opened.
        examples: names that ``--model`` takes.
        wording: the style in which its own evaluation asks benchmarks' questions
            (see :mod:`evalkit.benchmarks.wording`); empty for Qwen2-VL's, the paper's protocol.
        author_format: its checkpoints in another form than transformers', if there is one.
    """

    name: str
    summary: str
    native_rope: str
    box_space: str
    module: str
    examples: tuple[str, ...] = ()
    wording: str = ""
    author_format: AuthorFormat | None = None
