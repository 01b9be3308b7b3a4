"""What the Qwen families share."""
