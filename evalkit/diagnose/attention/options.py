"""What ``evalkit diagnose attention`` measures, and how it averages; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evalkit.core.errors import UsageError

Queries = Literal["answer", "last", "text"]
Average = Literal["samples", "queries"]

QUERIES: dict[Queries, str] = {
    "answer": "the queries that choose the answer's tokens: the prompt's last token, and each token of the "
    "answer but its last",
    "last": "the query of the prompt's last token, which chooses the answer's first",
    "text": "all text tokens of the prompt after its first medium's first token, and the answer's queries",
}
AVERAGES: dict[Average, str] = {
    "samples": "every sample counts the same, whatever the number of its queries",
    "queries": "every query counts the same: a sample with a longer answer counts more",
}


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What is measured, and how.

    Attributes:
        layers: numbers of layers, the first is 1, as the paper's table 7 counts; empty for all.
        queries: whose attention: a key of :data:`QUERIES`.
        average: how samples are weighted: a key of :data:`AVERAGES`.
        sink_percent: a visual block's sink is looked for among this share of its tokens, its first.
        pictures: samples of each task whose attention is drawn over what they show.
    """

    layers: tuple[int, ...] = ()
    queries: Queries = "answer"
    average: Average = "samples"
    sink_percent: float = 5.0
    pictures: int = 2

    def chosen_layers(self, count: int, name: str) -> list[int]:
        """The layers of a model with ``count`` layers, counted from 0.

        Raises:
            UsageError: it has no such layer.
        """
        wrong = [layer for layer in self.layers if not 1 <= layer <= count]
        if wrong:
            raise UsageError(
                f"`--layers {','.join(map(str, self.layers))}`",
                f"`{name}` has {count} layers, and no layer {wrong[0]}",
                f"write numbers from 1 to {count}, or `all`",
            )
        return sorted({layer - 1 for layer in self.layers}) or list(range(count))

    def definition(self) -> dict[str, str]:
        """The definitions that the figures go by, by name."""
        return {
            "queries": QUERIES[self.queries],
            "average": AVERAGES[self.average],
            "visual share": "of a query's attention (the probabilities after the softmax, which sum to 1 "
            "over all keys), the part on tokens of images and videos; separators, timestamps and start and "
            "end tokens count as text",
            "sink strength": f"attention on the first {self.sink_percent:g}% of the tokens of each visual "
            "block (at least one token; in the order of the sequence), over what those tokens would get if "
            "the block's attention were spread evenly within it; sums over blocks, queries and, for a mean, "
            "heads and layers are divided: 1 is no sink, and it has no unit. A block is an image, a tile of "
            "it, a video, or a frame where the family makes each frame a block; blocks of one token are left "
            "out",
            "distance": "a query's position minus a key's on one axis of the layer's own position ids; "
            "`lift` is the attention on keys in the range over what they would get if the query's "
            "attention were spread evenly over all keys it sees",
            "fading": "the visual share of the queries of the last quarter of an answer minus that of the "
            "first quarter, within each answer of at least four tokens",
            "interval": "95%, clustered by image or video: questions about one medium are not independent",
        }
