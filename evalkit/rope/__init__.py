"""Multimodal rotary position embeddings as values: a position design times a frequency allocation.

Torch-free: :mod:`~evalkit.rope.layout`, :mod:`~evalkit.rope.positions`, :mod:`~evalkit.rope.frequencies`,
:mod:`~evalkit.rope.variants` (evalkit's own), :mod:`~evalkit.rope.outside` (a user's) and
:mod:`~evalkit.rope.design` (what those are written with). With torch: :mod:`~evalkit.rope.rotary` (positions
to cos and sin) and :mod:`~evalkit.rope.hf.install` (into one transformers model). Nothing here imports the
rest of evalkit.
"""
