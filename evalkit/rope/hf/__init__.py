"""RoPE variants inside Hugging Face models: installing them, and the position ids of a call."""
