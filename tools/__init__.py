"""Programs of the source checkout, not in the wheel: measurements, training of the built-in models."""
