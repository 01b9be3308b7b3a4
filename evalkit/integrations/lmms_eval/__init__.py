"""Other harnesses' tasks on our engine, and our models in their command lines."""
