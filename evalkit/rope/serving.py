"""Whether a serving engine that numbers tokens in its own way can run a variant.

Such engines (vLLM, SGLang) keep one integer for each axis of each prompt token, and one number for each
prompt that is added to a generated token's index on every axis alike.
"""

from __future__ import annotations

from evalkit.rope.variant import RopeVariant


def unservable(variant: RopeVariant, layers: int) -> str | None:
    """Why such an engine would give wrong answers with a variant in a model of so many ``layers``; None if it
    wouldn't. The variant's parameters are those that the model has decided (``Installed.resolved``).
    """
    designs, _ = variant.position.layer_groups(layers)
    for design in designs:
        still = [f"`{axis}`" for axis, step in zip(design.axes, design.text_step, strict=True) if step != 1]
        if design.query_rotations > 1:
            return (
                f"a query is rotated in {design.query_rotations} ways, depending on the key it meets, and "
                "the engine has one"
            )
        if still:
            which = f"ax{'is' if len(still) == 1 else 'es'} {' and '.join(still)}"
            return (
                f"text doesn't move by one on the {which}, and the engine moves generated tokens by one on "
                "every axis"
            )
        if not design.integer_positions:
            return "some of its positions are fractions, and the engine keeps integers"
        if not design.text_goes_on:
            return (
                "generated tokens don't go on where the prompt's text ends, and the engine places both alike "
                "when it computes a prompt again"
            )
    return None
