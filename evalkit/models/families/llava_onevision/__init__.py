"""LLaVA-OneVision in its ``-hf`` form."""
