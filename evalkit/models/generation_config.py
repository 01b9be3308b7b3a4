"""A checkpoint's generation settings: what greedy decoding takes from them, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.core.errors import EnvironmentProblem
from evalkit.inference.stopping import GenerationTokens
from evalkit.models.checkpoints.files import GENERATION, CheckpointFiles, read_json

# Of a generation configuration, what our decoding takes, or what changes no answer.
_TAKEN = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "transformers_version",
    "use_cache",
    "return_dict_in_generate",
    "output_scores",
    "output_logits",
    "output_attentions",
    "output_hidden_states",
    "disable_compile",
    # How long an answer may be is the task's to say.
    "max_length",
    "max_new_tokens",
)
_WHEN_SAMPLING = (
    "temperature",
    "top_k",
    "top_p",
    "top_h",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
)
_NEUTRAL_AT_ONE = (
    "repetition_penalty",
    "encoder_repetition_penalty",
    "length_penalty",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "guidance_scale",
)


def ignored_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of a ``generation_config.json``, what makes ``generate()`` give other answers than greedy decoding.

    >>> ignored_settings({"eos_token_id": 7, "do_sample": False, "top_k": 1, "repetition_penalty": 1.05})
    {'repetition_penalty': 1.05}
    >>> ignored_settings({"do_sample": True, "top_k": 1, "repetition_penalty": 1.0, "num_beams": 1})
    {'do_sample': True, 'top_k': 1}
    """
    return {
        name: value
        for name, value in settings.items()
        if not (
            name in _TAKEN
            or name.startswith("_")
            or value in (None, False, 0, [], {}, "")
            or (name in _NEUTRAL_AT_ONE and value == 1)
            or (name in _WHEN_SAMPLING and not settings.get("do_sample"))
        )
    }


def generation_note(files: CheckpointFiles, sampling: str | None = None) -> str | None:
    """A sentence about what is ignored of a checkpoint's generation settings; ``sampling`` is how tokens are
    drawn instead, None for greedy decoding.

    Raises:
        EnvironmentProblem: its generation configuration is unreadable.
    """
    path = files.folder / GENERATION
    ignored = ignored_settings(read_json(path)) if path.is_file() else {}
    if not ignored:
        return None
    spelled = ", ".join(f"{name}={value}" for name, value in sorted(ignored.items()))
    choice = f"tokens are drawn as asked for ({sampling})" if sampling else "decoding is greedy"
    return f"{choice}: of the checkpoint's generation_config.json, {spelled} is ignored"


def generation_tokens_of(config: Any, generation: Any, tokenizer: Any) -> GenerationTokens:
    """Stop on every end token that the checkpoint names, and at the end of a turn in any case."""
    named = [
        generation.eos_token_id,
        config.get_text_config().eos_token_id,
        tokenizer.eos_token_id,
    ]
    stop = {each for ids in named if ids is not None for each in (ids if isinstance(ids, list) else [ids])}
    turn_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    if turn_end is not None and turn_end != tokenizer.unk_token_id:
        stop.add(turn_end)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stop)
    # Some families pad with an end token (<|endoftext|>): that must stay possible.
    placeholders = {config.image_token_id, getattr(config, "video_token_id", config.image_token_id)}
    banned = ({pad} | placeholders) - stop
    return GenerationTokens(frozenset(stop), tuple(sorted(banned)), tuple(sorted(placeholders)))


def read_configs(files: CheckpointFiles) -> tuple[Any, Any]:
    """The model's configuration and its generation configuration, as ``from_pretrained`` reads them.

    Raises:
        EnvironmentProblem: one is unreadable.
    """
    from transformers import AutoConfig, GenerationConfig

    try:
        config = AutoConfig.from_pretrained(files.folder, local_files_only=True, trust_remote_code=False)
        if (files.folder / GENERATION).is_file():
            return config, GenerationConfig.from_pretrained(files.folder, local_files_only=True)
        return config, GenerationConfig.from_model_config(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EnvironmentProblem(
            f"the configuration of `{files.folder}` can't be read",
            str(error).splitlines()[0],
            "fetch the checkpoint again, or check its config.json and generation_config.json",
        ) from None
