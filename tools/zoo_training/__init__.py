"""Training of the built-in tiny models."""
