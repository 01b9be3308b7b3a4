"""PaddleOCR-VL: documents as images of any size; it takes no videos."""

from evalkit.models.families.family import Family

FAMILY = Family(
    "paddleocr_vl",
    "PaddleOCR-VL: images of documents, no videos; it is not trained to find boxes",
    native_rope="mrope",
    box_space="norm1000",  # there is no convention of its own
    module="evalkit.models.families.paddleocr_vl.adapter",
    examples=("PaddlePaddle/PaddleOCR-VL",),
)
