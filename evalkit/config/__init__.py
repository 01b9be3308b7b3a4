"""What is asked of a run: its specification, and run.yaml."""
