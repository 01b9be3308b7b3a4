"""Checkpoint folders without weights: tokenizer and settings of each family, as the hub has them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from evalkit.models.checkpoints.files import CheckpointFiles
from evalkit.models.families.registry import FAMILIES
from evalkit.models.processor import Processor, load_processor

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CANVASES = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]

VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
QWEN_SPECIALS = ("<|im_start|>", "<|im_end|>", *VISION)
INTERNVL_SPECIALS = ("<img>", "</img>", "<IMG_CONTEXT>", "<video>", "<ref>", "</ref>")
SPECIALS = {
    "qwen2_vl": QWEN_SPECIALS,
    "qwen3_vl": QWEN_SPECIALS,
    # Two fillers: in every family, the same ids stand for images and videos.
    "llava_onevision": ("<|im_start|>", "<|im_end|>", "<a>", "<b>", "<image>", "<video>"),
    "internvl": ("<|im_start|>", "<|im_end|>", *INTERNVL_SPECIALS),
}
QWEN = tuple(f"<|vision_start|><|{kind}_pad|><|vision_end|>" for kind in ("image", "video"))
TEMPLATES = {
    "qwen2_vl": QWEN,
    "qwen3_vl": QWEN,
    "llava_onevision": ("<image>\n", "<video>\n"),
    "internvl": ("<IMG_CONTEXT>\n", "<video>\n"),
}


def save_tokenizer(folder: Path, family: str) -> None:
    """A byte-level tokenizer with the family's special tokens and a chat template like its own."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", *SPECIALS[family]])
    tokenizer.save(str(folder / "tokenizer.json"))
    image, video = TEMPLATES[family]
    template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for item in message.content %}"
        f"{{% if item.type == 'image' %}}{image}{{% elif item.type == 'video' %}}{video}"
        "{% else %}{{ item.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "chat_template": template,
    }
    if family == "internvl":
        settings["extra_special_tokens"] = {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def save_settings(folder: Path, family: str) -> None:
    """``preprocessor_config.json`` and its companions with the values of the released checkpoints."""
    patch = {"qwen2_vl": 14, "qwen3_vl": 16}.get(family, 14)
    qwen = {"patch_size": patch, "merge_size": 2, "temporal_patch_size": 2}
    image: dict[str, Any]
    video: dict[str, Any]
    if family == "qwen2_vl":
        image = {**qwen, **CLIP, "min_pixels": 3136, "max_pixels": 12845056}
        video = {**qwen, **CLIP, "size": {"shortest_edge": 4 * 28 * 28, "longest_edge": 16 * 28 * 28}}
    elif family == "qwen3_vl":
        image = {**qwen, **HALF, "size": {"shortest_edge": 65536, "longest_edge": 16777216}}
        video = {**qwen, **HALF, "size": {"shortest_edge": 4096, "longest_edge": 25165824}}
    elif family == "llava_onevision":
        size = {"height": 384, "width": 384}
        image = {**HALF, "size": size, "image_grid_pinpoints": CANVASES}
        video = {**HALF, "size": size}
    else:
        size = {"height": 448, "width": 448}
        image = {**IMAGENET, "size": size, "crop_to_patches": True, "min_patches": 1, "max_patches": 12}
        video = {**IMAGENET, "size": size}
    (folder / "preprocessor_config.json").write_text(json.dumps(image))
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video))
    if family in WHOLE:
        (folder / "processor_config.json").write_text(json.dumps(WHOLE[family]))


# llava-hf/llava-onevision-qwen2-7b-ov-hf and OpenGVLab/InternVL3-1B-hf.
WHOLE = {
    "llava_onevision": {
        "image_token": "<image>",
        "num_image_tokens": 729,
        "processor_class": "LlavaOnevisionProcessor",
        "video_token": "<video>",
        "vision_feature_select_strategy": "full",
    },
    "internvl": {"image_seq_length": 256, "processor_class": "InternVLProcessor"},
}


def save_config(folder: Path, family: str) -> None:
    """What the preprocessors read of ``config.json``."""
    vision = {
        "llava_onevision": {"image_size": 384, "patch_size": 14},
        "internvl": {"image_size": [448, 448]},
    }
    config: dict[str, Any] = {"model_type": family, "vision_config": vision.get(family, {})}
    if family == "llava_onevision":
        config |= {"image_grid_pinpoints": CANVASES, "vision_aspect_ratio": "anyres_max_9"}
    if family == "internvl":
        config["vision_config"]["patch_size"] = [14, 14]
        config |= {"downsample_ratio": 0.5}
    (folder / "config.json").write_text(json.dumps(config))


def save_folder(folder: Path, family: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder, family)
    save_settings(folder, family)
    save_config(folder, family)
    return folder


def processor_of(folder: Path) -> Processor:
    """The processor of a folder that may lack weights."""
    read = CheckpointFiles(folder, (), None, folder, folder)
    return load_processor(read, transformers.AutoConfig.from_pretrained(folder))


def preprocessor_of(folder: Path) -> Any:
    """Our preprocessor of a folder that may lack weights."""
    given = processor_of(folder)
    family = importlib.import_module(FAMILIES[given.config.model_type].module)
    return family.FAMILY_ADAPTER.preprocessor(given)


REAL = {"qwen2_vl": "Qwen2_VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3_VL"}
"""Families whose published configuration files lie in ``../shared/hub_configs``."""


def save_published(folder: Path, family: str, shared: Path) -> Path:
    """A folder with a published checkpoint's own files, and a tokenizer of as many entries as its own.

    Published tokenizers are too large for ``../shared``: special tokens, ids and settings are real
    (``tokenizer_config.json``), the other entries stand for bytes or for nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in (shared / "hub_configs" / REAL[family]).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    added = {int(place): token["content"] for place, token in config["added_tokens_decoder"].items()}
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"unused{number}" for number in range(len(letters), min(added)))]
    tokenizer = Tokenizer(models.BPE({name: place for place, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([added[place] for place in sorted(added)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
