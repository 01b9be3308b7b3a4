"""LLaVA-OneVision in its ``-hf`` form: anyres images, pooled video frames."""

from evalkit.models.families.family import AuthorFormat, Family

FAMILY = Family(
    "llava_onevision",
    "LLaVA-OneVision: anyres images, pooled video frames, boxes as fractions of the image",
    native_rope="vanilla",
    box_space="norm1",
    module="evalkit.models.families.llava_onevision.adapter",
    examples=(
        "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        "llava-hf/llava-onevision-qwen2-72b-ov-hf",
    ),
    wording="plain",
    author_format=AuthorFormat(
        "llava_qwen",
        "in the original form of LLaVA (`llava_qwen`), which transformers doesn't read",
        "`llava-hf`",
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        (
            (
                r"llava-onevision-(qwen2-(?:0\.5|7|72)b-(?:ov-chat|ov|si))",
                "llava-hf/llava-onevision-{}-hf",
            ),
        ),
        "convert_llava_onevision_weights_to_hf.py",
    ),
)
