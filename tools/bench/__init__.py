"""Measurements: each prints ratios against named baselines, taken in one run."""
