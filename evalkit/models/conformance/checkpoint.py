"""A family's checkpoint with random weights, small enough to generate with on a CPU in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from evalkit.core.types import MediaKind
from evalkit.models.weights import class_of

CHAT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Special tokens of every tiny tokenizer; a family's own follow."""

PAD, TURN, END = range(256, 259)
"""Their ids: a byte is its own token."""

VOCABULARY = 272
HIDDEN, HEADS = 128, 4


@dataclass(frozen=True)
class TinyCheckpoint:
    """What a family's ``tiny`` module holds as ``TINY``.

    Attributes:
        config: makes transformers' configuration; ids of special tokens are those of :meth:`token_id`.
        special_tokens: the family's own.
        media: what the chat template writes for a medium.
        settings: files of the processor, by name.
        token_attributes: names by which the processor asks the tokenizer for special tokens.
        rotates_like: a family whose attention and positions are the same, and that is tested with every
            variant: a few are enough for this one, where all families are tested.
    """

    config: Callable[[], Any]
    special_tokens: tuple[str, ...]
    media: Mapping[MediaKind, str]
    settings: Mapping[str, Mapping[str, Any]]
    token_attributes: Mapping[str, str] = field(default_factory=dict)
    rotates_like: str = ""

    def model(self, model_class: str) -> Any:
        """The same random weights every time; larger than usual, or all answers would be alike."""
        torch.manual_seed(0)
        model = class_of(model_class)(self.config()).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim >= 2:
                    parameter.mul_(6.0 if "q_proj" in name or "k_proj" in name else 3.0)
        return model

    def save(self, folder: Path, model_class: str) -> Path:
        """A complete checkpoint folder."""
        self.save_model(folder, self.model(model_class))
        return self.save_processor(folder)

    @staticmethod
    def save_model(folder: Path, model: Any) -> None:
        """Weights and configurations."""
        model.generation_config.eos_token_id = [END, PAD]
        model.save_pretrained(folder)

    def save_processor(self, folder: Path) -> Path:
        """Tokenizer, chat template and settings."""
        save_tokenizer(folder, self.special_tokens, self.media, self.token_attributes)
        for name, content in self.settings.items():
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        return folder


def token_id(special_tokens: Sequence[str], token: str) -> int:
    """The id of one of a family's special tokens."""
    return 256 + len(CHAT_TOKENS) + special_tokens.index(token)


def text_config(model_type: str, *, section: Sequence[int] = (), **more: Any) -> dict[str, Any]:
    """Configuration of a language model of two layers; ``section``: its ``mrope_section``."""
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e4}
    return {
        "model_type": model_type,
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HIDDEN // HEADS,
        "max_position_embeddings": 4096,
        "rope_parameters": rope | ({"mrope_section": list(section)} if section else {}),
        "bos_token_id": None,
        "eos_token_id": END,
        "pad_token_id": PAD,
    } | more


def save_tokenizer(
    folder: Path,
    special_tokens: Sequence[str],
    media: Mapping[MediaKind, str],
    token_attributes: Mapping[str, str],
) -> None:
    """A byte-level tokenizer and a chat template that writes ``media``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*CHAT_TOKENS, *special_tokens])
    tokenizer.save(str(folder / "tokenizer.json"))
    cases = "".join(
        f"{{% {'el' if place else ''}if item.type == '{kind}' %}}{text}"
        for place, (kind, text) in enumerate(media.items())
    )
    template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for item in message.content %}"
        f"{cases}{{% else %}}{{{{ item.text }}}}{{% endif %}}{{% endfor %}}<|im_end|>\n{{% endfor %}}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": CHAT_TOKENS[0],
        "eos_token": CHAT_TOKENS[2],
        "chat_template": template,
        "extra_special_tokens": dict(token_attributes),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
