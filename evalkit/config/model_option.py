"""How ``--model`` is written: ``CHECKPOINT``, ``VARIANT=CHECKPOINT`` or ``LABEL=VARIANT=CHECKPOINT``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evalkit.core.errors import UsageError
from evalkit.rope.grammar import PART_KEYS

IsVariant = Callable[[str], bool]


def split_model_option(model: str) -> tuple[str | None, str]:
    """Split ``variant=checkpoint``; a checkpoint alone gives ``(None, checkpoint)``.

    >>> split_model_option("mrope-i(spatial_reset=false)=/ckpts/a")
    ('mrope-i(spatial_reset=false)', '/ckpts/a')
    >>> split_model_option("mock:fixed=B")
    (None, 'mock:fixed=B')
    >>> split_model_option("position=grid,frequency=chunk(16,24,24)=/ckpts/b")
    ('position=grid,frequency=chunk(16,24,24)', '/ckpts/b')
    """
    depth, equals = 0, 0
    # The parts of a composition have their own equals signs.
    wanted = 2 if model.partition("=")[0].strip() in PART_KEYS else 1
    for place, character in enumerate(model):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            equals = 0 if character == "," else equals + (character == "=")
        if depth == 0 and equals == wanted:
            variant, checkpoint = model[:place], model[place + 1 :]
            return (variant, checkpoint) if ":" not in variant and "/" not in variant else (None, model)
    return None, model


def split_label(model: str, is_variant: IsVariant) -> tuple[str | None, str]:
    """Split a label off ``LABEL=VARIANT=CHECKPOINT``; without one the label is None.

    A label is what stands before a variant with its checkpoint; ``auto`` counts as a variant. So a folder's
    name may have an equals sign.

    Raises:
        UsageError: what stands first is the name of a variant as well, or nothing.

    >>> known = {"mrope", "mrope-i"}.__contains__
    >>> split_label("MRoPE-I (ours)=mrope-i=/ckpts/a", known)
    ('MRoPE-I (ours)', 'mrope-i=/ckpts/a')
    >>> split_label("mrope=/ckpts/lr=1e-5", known)
    (None, 'mrope=/ckpts/lr=1e-5')
    """
    first, rest = split_model_option(model)
    if first is None:
        return None, model
    variant, checkpoint = split_model_option(rest)
    if variant is None or not checkpoint or not (variant == "auto" or is_variant(variant)):
        return None, model
    label = first.strip()
    if not label or label == "auto" or is_variant(label):
        raise UsageError(
            f"label `{label}` of `{model}`",
            "it is empty, or the name of a variant: a table would say that of another one",
            "give another label, or write `VARIANT=CHECKPOINT`",
        )
    return label, rest


def label_pair(text: str) -> tuple[str, str]:
    """Split ``NAME=LABEL`` at its last equals sign outside brackets.

    Raises:
        UsageError: a part is missing.

    >>> label_pair("mrope-i(temporal_stride=2)=MRoPE-I (stride=2)")
    ('mrope-i(temporal_stride=2)', 'MRoPE-I (stride=2)')
    """
    depth, place = 0, -1
    for at, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        place = at if character == "=" and depth == 0 else place
    name, label = text[: max(place, 0)].strip(), text[place + 1 :].strip()
    if not name or not label:
        raise UsageError(
            f"label `{text}`", "it is not NAME=LABEL", "write `--label 'mrope-i=MRoPE-I (ours)'`"
        )
    return name, label


def check_unique(labels: Iterable[tuple[str, str]], fix: str) -> None:
    """Refuse one label for two things; each label comes behind what it is given to.

    Raises:
        UsageError: names the label and both.
    """
    seen: dict[str, str] = {}
    for owner, label in labels:
        other = seen.setdefault(label, owner)
        if other != owner:
            raise UsageError(f"label `{label}`", f"it is given to `{other}` and to `{owner}`", fix)


def resolve(name: str, spelled: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The one thing that goes by a name: things come with all their spellings.

    Raises:
        UsageError: none does, or several.
    """
    found = [thing for thing, names in spelled if name in names]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"`{thing}`" for thing, _ in spelled)
    why = (
        f"several go by that name: {', '.join(found)}"
        if found
        else f"none goes by that name; there are {known}"
    )
    raise UsageError(f"label of `{name}`", why, "name one of them")
