"""GLM-4.5V: GLM-4.1V's prompts and tower before a mixture of experts that rotates channels as Qwen's does."""

from evalkit.models.families.family import Family

FAMILY = Family(
    "glm4v_moe",
    "GLM-4.5V, with experts: whole seconds between frames, boxes in thousandths",
    native_rope="mrope",
    box_space="norm1000",
    module="evalkit.models.families.glm4v_moe.adapter",
    examples=("zai-org/GLM-4.5V",),
)
