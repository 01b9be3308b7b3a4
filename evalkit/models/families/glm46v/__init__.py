"""GLM-4.6V-Flash: GLM-4.1V's architecture, with times to the tenth of a second."""

from evalkit.models.families.family import Family

FAMILY = Family(
    "glm46v",
    "GLM-4.6V-Flash: neighbouring channels are rotated, seconds between frames, boxes in thousandths",
    native_rope="mrope",
    box_space="norm1000",
    module="evalkit.models.families.glm46v.adapter",
    examples=("zai-org/GLM-4.6V-Flash",),
)
