"""Greedy decoding in batches: prefill, KV cache, attention, CUDA graphs, the vision encoder."""
