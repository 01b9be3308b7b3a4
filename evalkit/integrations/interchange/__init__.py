"""Results of lmms-eval, VLMEvalKit and Inspect as runs, and runs as logs of Inspect."""
