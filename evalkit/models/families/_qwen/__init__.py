"""What the Qwen families, and those made after them, share: preprocessing and vision tower."""
