"""Checkpoint folders without torch: what lies in them, what is read, and where it comes from."""
