"""InternVL3 in its ``-hf`` form."""
