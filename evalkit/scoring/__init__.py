"""From answers to scored records, files of predictions and submissions."""
