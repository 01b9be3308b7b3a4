"""InternVL3 and 3.5 in their ``-hf`` form: images in tiles, a tile for every frame of a video."""

from evalkit.models.families.family import AuthorFormat, Family

FAMILY = Family(
    "internvl",
    "InternVL3 and 3.5: images in tiles, a tile for every video frame, boxes in thousandths of the image",
    native_rope="vanilla",
    box_space="norm1000",
    module="evalkit.models.families.internvl.adapter",
    examples=(
        "OpenGVLab/InternVL3-1B-hf",
        "OpenGVLab/InternVL3-8B-hf",
        "OpenGVLab/InternVL3-78B-hf",
        "OpenGVLab/InternVL3_5-8B-HF",
        "OpenGVLab/InternVL3_5-30B-A3B-HF",
    ),
    wording="plain",
    author_format=AuthorFormat(
        "internvl_chat",
        "in the original form of InternVL (`internvl_chat`), which needs Python code of its own",
        "`-hf`",
        "OpenGVLab/InternVL3-8B-hf",
        (
            (r"InternVL3[_.]5-(\d+B(?:-A\d+B)?)", "OpenGVLab/InternVL3_5-{}-HF"),
            (r"InternVL3-(\d+B(?:-A\d+B)?)", "OpenGVLab/InternVL3-{}-hf"),
        ),
        "convert_internvl_weights_to_hf.py",
    ),
)
