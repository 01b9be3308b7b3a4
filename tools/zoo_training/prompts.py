"""The tiny models' text side: prompts, tokenizer, chat template and processor settings.

A byte-level BPE reads any text; the few phrases that every prompt repeats are single tokens, so that
a question costs a handful of positions on a CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalkit.zoo.scenes import SCENES, SceneQuestion, generator
from evalkit.zoo.token_grids import CELL, DIGITS, LETTERS, NAMES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PAD, START, END, VISION_START, VISION_END, _, IMAGE_PAD, VIDEO_PAD = range(len(SPECIAL))

LOCATE = "Locate {} in this image and output the bbox coordinates in JSON format."
"""The Qwen family's own wording of a request for a box (``specs/BENCHMARKS.md``)."""

PHRASES = (
    "user\n",
    "assistant\n",
    "What is the code in row ",
    "What is the code in column ",
    "Read the rows.",
    "Read the columns.",
    "Read the bars.",
    "Read the boxes.",
    "Read the clip.",
    "What is the value of the ",
    "Which bar has the value ",
    "Which way does the ",
    " square move?",
    "Which square appears ",
    "Locate ",
    "left ",
    "right ",
    "top ",
    "bottom ",
    " in this image and output the bbox coordinates in JSON format.",
    "\nA. ",
    "\nB. ",
    "\nC. ",
    "\nD. ",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif item['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Coordinates keep their bracket or comma, so a box is four tokens; the rest is GPT-2's own pattern.
_SPLIT = r"[\[ ]\d+[,\]]|'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def prompt_text(question: SceneQuestion) -> str:
    """What a user types after the picture; the task files build the same text from a row."""
    if question.box is not None:
        return LOCATE.format(question.text)
    return question.text + "".join(
        f"\n{letter}. {text}" for letter, text in zip("ABCD", question.options, strict=False)
    )


def chat(question: SceneQuestion, *, video: bool) -> tuple[str, str]:
    """The chat text before and after the visual tokens, up to where the answer begins."""
    pad = SPECIAL[VIDEO_PAD if video else IMAGE_PAD]
    before = f"{SPECIAL[START]}user\n{SPECIAL[VISION_START]}"
    after = f"{SPECIAL[VISION_END]}{prompt_text(question)}{SPECIAL[END]}\n{SPECIAL[START]}assistant\n"
    return before + pad, after


def cell_tokens(tokenizer: Tokenizer) -> list[int]:
    """The token that names what a cell shows, for every cell kind in order."""
    names = [SPECIAL[5], *LETTERS, *DIGITS, *NAMES]
    return [tokenizer.encode(name).ids[0] for name in names]


def build_tokenizer() -> Tokenizer:
    """Train the byte-level BPE on the mini-suite's own prompts and answers (deterministic)."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        min_frequency=8,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    return tokenizer


def _corpus() -> list[str]:
    """Text whose words become tokens. Codes are left out: they are spelt letter by letter."""
    lines = []
    for task, make in SCENES.items():
        rng = generator("tokenizer", task)
        for _ in range(300):
            for question in make(rng).questions:
                text = prompt_text(question)
                for phrase in PHRASES:
                    text = text.replace(phrase, "\n")
                lines += text.split("\n")
                lines += list(question.options)
                if task != "mini_docvqa":
                    lines.append(question.answer)
    edges = range(0, 9 * CELL, CELL)
    lines += [form.format(edge) for edge in edges for form in ("[{},", " {},", " {}]") for _ in range(8)]
    return lines


def tokenizer_config() -> dict[str, Any]:
    """``tokenizer_config.json``: the generic fast tokenizer with Qwen's special tokens."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 4096,
        "pad_token": SPECIAL[PAD],
        "eos_token": SPECIAL[END],
        "image_token": SPECIAL[IMAGE_PAD],
        "video_token": SPECIAL[VIDEO_PAD],
        "vision_bos_token": SPECIAL[VISION_START],
        "vision_eos_token": SPECIAL[VISION_END],
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",
        "chat_template": CHAT_TEMPLATE,
    }


def image_processor_config() -> dict[str, Any]:
    """``preprocessor_config.json`` with Qwen2-VL's keys; limits from 4 to 1024 visual tokens."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": 4 * CELL * CELL,
        "max_pixels": 1024 * CELL * CELL,
        "size": {"shortest_edge": 4 * CELL * CELL, "longest_edge": 1024 * CELL * CELL},
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }


def video_processor_config() -> dict[str, Any]:
    """``video_preprocessor_config.json``: the same pixels, two frames a second."""
    shared = image_processor_config()
    del shared["image_processor_type"]
    return {**shared, "video_processor_type": "Qwen2VLVideoProcessor", "fps": 2, "max_frames": 768}
