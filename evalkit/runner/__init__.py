"""A run, from its specification to stored and scored records."""
