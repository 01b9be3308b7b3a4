"""GLM-4.1V: rotates neighbouring channels, half of each head; answers between box tags, after thinking."""

from evalkit.models.families.family import Family

FAMILY = Family(
    "glm4v",
    "GLM-4.1V: neighbouring channels are rotated, whole seconds between frames, boxes in thousandths",
    native_rope="mrope",
    box_space="norm1000",
    module="evalkit.models.families.glm4v.adapter",
    examples=("zai-org/GLM-4.1V-9B-Thinking", "zai-org/GLM-4.1V-9B-Base"),
)
