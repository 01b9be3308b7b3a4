"""A checkpoint's processor as transformers reads it: tokenizer, chat template, settings of images and videos.

Every family takes its settings from here; ``AutoProcessor`` decides which file comes first. Settings that our
preprocessing doesn't follow are refused.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.core.atomic_files import write_atomic
from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.types import FixedPart, Locate, MediaKind, MediaRef, Text
from evalkit.data.cache import cache_root, writing
from evalkit.inference.normalisation import Channels, Normalisation, Normalisations
from evalkit.models.checkpoints.files import CheckpointFiles, read_json
from evalkit.models.families.family import Family
from evalkit.models.preprocess import escape_special_tokens

BICUBIC = 3
"""``PIL.Image.Resampling.BICUBIC``, by which our preprocessing resizes."""

WHOLE_PROCESSOR = "processor_config.json"

KINDS: tuple[MediaKind, ...] = ("image", "video")


@dataclass(frozen=True)
class Processor:
    """What ``AutoProcessor`` makes of a checkpoint.

    Attributes:
        own: transformers' processor.
        config: the model's configuration.
        template: the chat template.
        folder: where it was read, for messages.
        sources: the files that settings of images and videos and the template come from.
        tokenizer_file: the tokenizer in the form of the ``tokenizers`` library, for worker processes.
        kinds: the media that the family takes.
        template_arguments: what the template is told beside the chat.
        system_prompt: stands before the question; None for what the template does by itself.
    """

    own: Any
    config: Any
    template: str
    folder: Path
    sources: Mapping[str, str]
    tokenizer_file: str
    kinds: Sequence[MediaKind] = KINDS
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    system_prompt: str | None = None

    @property
    def tokenizer(self) -> Any:
        """Transformers' tokenizer."""
        return self.own.tokenizer

    def part(self, kind: MediaKind) -> Any:
        """The processor of images or of videos."""
        return self.own.image_processor if kind == "image" else self.own.video_processor

    def known(self, kind: MediaKind, *classes: str) -> Any:
        """The processor of images or of videos, if our preprocessing does the same.

        Raises:
            EnvironmentProblem: it is of another class, or has settings that ours doesn't follow.
        """
        part = self.part(kind)
        name = type(part).__name__
        if name.removesuffix("Fast").removesuffix("Pil") not in classes:
            raise self.refusal(f"its {kind} processor is `{name}` instead of `{classes[0]}`")
        resample = getattr(part, "resample", BICUBIC)
        strange = {
            "do_resize": part.do_resize is not True,
            "do_center_crop": bool(getattr(part, "do_center_crop", None)),
            "resample": resample is not None and int(resample) != BICUBIC,
        }
        found = [f"{key}={getattr(part, key)!r}" for key, wrong in strange.items() if wrong]
        if found:
            raise self.refusal(
                f"its {kind} processor says {', '.join(found)}, which evalkit's preprocessing doesn't do"
            )
        return part

    def side(self, kind: MediaKind) -> int:
        """The side of the squares that images or frames are resized to.

        Raises:
            EnvironmentProblem: they are no squares.
        """
        size = dict(self.part(kind).size)
        sides = {size.get("height"), size.get("width")} - {None} or {size.get("shortest_edge")}
        if len(sides) != 1 or not all(isinstance(each, int) and each > 0 for each in sides):
            raise self.refusal(f"its {kind} processor resizes to {size}, not to a square")
        return max(int(each or 0) for each in sides)

    @property
    def normalise(self) -> Normalisations:
        """How pixels of each kind of media are rescaled and normalised.

        Raises:
            EnvironmentProblem: a value is missing.
        """
        return {kind: self._normalisation(kind) for kind in self.kinds}

    def _normalisation(self, kind: MediaKind) -> Normalisation:
        part = self.part(kind)
        levels = 1 / part.rescale_factor if part.do_rescale else 1.0
        if not part.do_normalize:
            return Normalisation((0.0,) * 3, (1.0,) * 3, levels)
        return Normalisation(self._channels(kind, "image_mean"), self._channels(kind, "image_std"), levels)

    def _channels(self, kind: MediaKind, name: str) -> Channels:
        values = getattr(self.part(kind), name)
        each = [values] * 3 if isinstance(values, int | float) else list(values or ())
        if len(each) != 3:
            raise self.refusal(f"its {kind} processor has {name}={values!r} instead of three numbers")
        return (float(each[0]), float(each[1]), float(each[2]))

    def agree(self, what: str, processor: object, model: object) -> None:
        """Check that processor and model were made for each other.

        Raises:
            EnvironmentProblem: they weren't.
        """
        if processor != model:
            raise self.refusal(f"{what} is {processor} for its processor and {model} for its config.json")

    def refusal(self, why: str, fix: str = "use the processor files that the model was trained with") -> Any:
        """An error about these settings."""
        return EnvironmentProblem(f"the processor of `{self.folder}` can't be used", why, fix)

    def render(self, parts: Sequence[FixedPart], family: Family, locate: str) -> str:
        """One user turn as chat text, with one placeholder per medium.

        Special tokens in the question's own text are broken up, so that they stay text.

        Raises:
            UsageError: there is a medium among them that the family doesn't take.
            EnvironmentProblem: the chat template can't be rendered.
        """
        for part in parts:
            if isinstance(part, MediaRef) and part.kind not in self.kinds:
                raise UsageError(
                    f"a question shows a {part.kind}",
                    f"models of the family `{family.name}` take {' and '.join(self.kinds)}s only",
                    "choose other tasks (`--tasks`), or a model of another family (`evalkit models`)",
                )
        specials = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        content = [_content(part, specials, family, locate) for part in parts]
        chat: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self.system_prompt is not None:
            chat.insert(0, {"role": "system", "content": [{"type": "text", "text": self.system_prompt}]})
        try:
            text: str = self.tokenizer.apply_chat_template(
                chat,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=True,
                **self.template_arguments,
            )
        except Exception as error:  # noqa: BLE001 - a template is a program, and raises what it likes
            raise EnvironmentProblem(
                f"the chat template of `{self.folder}` can't be rendered",
                _told(error),
                "use the chat template that the model was trained with (chat_template.jinja)",
            ) from None
        return text

    def check_template(self, family: Family, locate: str, placeholders: Mapping[MediaKind, str]) -> str:
        """A chat with every kind of media, each of which must stand there once.

        Raises:
            EnvironmentProblem: the template is another family's, or knows of no media.
        """
        media = [MediaRef(kind, path=kind) for kind in self.kinds]
        parts: list[FixedPart] = [media[0], Text("?"), *media[1:]]
        chat = self.render(parts, family, locate)
        if any(chat.count(placeholder) != 1 for placeholder in placeholders.values()):
            raise EnvironmentProblem(
                f"the chat template of `{self.folder}` is not that of the family `{family.name}`",
                ", ".join(f"an {kind} must become {text}" for kind, text in placeholders.items()),
                "use the base model's chat template",
            )
        return chat


def load_processor(read: CheckpointFiles, config: Any, kinds: Sequence[MediaKind] = KINDS) -> Processor:
    """The processor of a checkpoint whose family takes media of these ``kinds``; only files that are part of
    its identity are read.

    Raises:
        EnvironmentProblem: transformers can't load it, or it has no chat template.
    """
    own, chat = _loaded(read, read.text, read.pixels, kinds), read.text
    template = _template(own)
    if read.text != read.pixels and not all(kind in template for kind in kinds):
        # A tokenizer that was saved alone brings a template that knows of no media.
        found = _template(_loaded(read, read.pixels, read.pixels, kinds))
        template, chat = (found, read.pixels) if found else (template, chat)
    if not template:
        raise EnvironmentProblem(
            f"`{read.text}` has no chat template",
            "prompts can't be written the way the model was trained on",
            "copy chat_template.jinja (or chat_template.json) of the base model into the folder",
        )
    sources = {**_settings_sources(read.pixels, kinds), "chat template": _template_source(chat, read.pixels)}
    tokenizer_file = _tokenizer_file(own.tokenizer, read.text)
    return Processor(own, config, template, read.pixels, sources, tokenizer_file, kinds)


def _loaded(read: CheckpointFiles, text: Path, pixels: Path, kinds: Sequence[MediaKind]) -> Any:
    from transformers import AutoProcessor

    with _staged(read, text, pixels) as folder, quietly():
        try:
            found = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # noqa: BLE001 - its readers raise anything on damaged files
            part, cause = _blamed(folder, error)
            place = text if part == "tokenizer" else pixels
            raise EnvironmentProblem(
                f"the {part} of `{place}` can't be loaded",
                _told(cause).replace(str(folder), str(place)),
                "save it with `AutoProcessor.from_pretrained(BASE).save_pretrained(folder)`",
            ) from None
    needed = ("tokenizer", *(f"{kind}_processor" for kind in kinds))
    missing = [part for part in needed if not hasattr(found, part)]
    if missing:
        raise EnvironmentProblem(
            f"the processor of `{pixels}` has no {' and no '.join(missing)}",
            f"transformers takes it for `{type(found).__name__}`",
            "save it with `AutoProcessor.from_pretrained(BASE).save_pretrained(folder)`",
        )
    return found


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers' advice to its own users off the terminal."""
    from transformers.utils import logging

    shown = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(shown)


@contextmanager
def _staged(read: CheckpointFiles, text: Path, pixels: Path) -> Iterator[Path]:
    """A folder in which the files of a processor, and no others, lie in one place."""
    groups = read.processor_groups(text, pixels)
    with tempfile.TemporaryDirectory(prefix="evalkit-") as name:
        for root, paths in groups:
            for path in paths:
                place = Path(name) / path.relative_to(root)
                place.parent.mkdir(exist_ok=True)
                place.symlink_to(path.absolute())
        yield Path(name)


def _settings_sources(folder: Path, kinds: Sequence[MediaKind]) -> dict[str, str]:
    """The files that transformers takes settings from: it looks into them in this order."""
    whole = read_json(folder / WHOLE_PROCESSOR) if (folder / WHOLE_PROCESSOR).is_file() else {}
    own = {"image": "preprocessor_config.json", "video": "video_preprocessor_config.json"}
    return {
        kind: WHOLE_PROCESSOR
        if f"{kind}_processor" in whole
        else next((name for name in (own[kind], own["image"]) if (folder / name).is_file()), "")
        for kind in kinds
    }


def _template_source(folder: Path, pixels: Path) -> str:
    """The file that transformers takes the chat template from: it looks into them in this order."""
    whole = read_json(pixels / WHOLE_PROCESSOR) if (pixels / WHOLE_PROCESSOR).is_file() else {}
    if whole.get("chat_template"):
        return WHOLE_PROCESSOR
    names = ("chat_template.json", "chat_template.jinja", "tokenizer_config.json")
    return next(name for name in names if (folder / name).is_file())


def _template(own: Any) -> str:
    """The template that transformers' processor takes, else its tokenizer's."""
    for holder in (own, own.tokenizer):
        found = holder.chat_template
        if isinstance(found, Mapping):
            found = found.get("default")
        if found:
            return str(found)
    return ""


def _tokenizer_file(tokenizer: Any, folder: Path) -> str:
    """The tokenizer as one JSON file in the cache, under its hash: with the tokens that other files add."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise EnvironmentProblem(
            f"the tokenizer of `{folder}` can't be used",
            f"`{type(tokenizer).__name__}` has no form in the `tokenizers` library",
            "save the base model's tokenizer.json into the folder",
        )
    text: bytes = backend.to_str().encode()
    place = cache_root() / "tokenizers" / f"{hashlib.sha256(text).hexdigest()}.json"
    if not place.is_file():
        with writing(place.parent):
            write_atomic(place, text, durable=False)
    return str(place)


def _content(part: FixedPart, specials: Sequence[str], family: Family, locate: str) -> dict[str, str]:
    if isinstance(part, MediaRef):
        return {"type": part.kind}
    # The wording itself may have special tokens of the family; the phrase may not.
    if isinstance(part, Locate):
        return {"type": "text", "text": locate.format(escape_special_tokens(part.phrase, specials))}
    return {
        "type": "text",
        "text": escape_special_tokens(part.wording(family.name, family.wording), specials),
    }


def _blamed(folder: Path, error: Exception) -> tuple[str, Exception]:
    """Which part of a processor can't be loaded, and why; the whole if each part can be."""
    import transformers

    parts = {"tokenizer": "AutoTokenizer", "image processor": "AutoImageProcessor"}
    for part, reader in (parts | {"video processor": "AutoVideoProcessor"}).items():
        try:
            getattr(transformers, reader).from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as cause:  # noqa: BLE001 - as above
            return part, cause
    return "processor", error


def _told(error: Exception) -> str:
    """The first line of an error, with its kind where the line alone may say nothing."""
    line = next(iter(str(error).splitlines()), "")
    return line if line and isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {line}"
