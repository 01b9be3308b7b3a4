"""Regression checks on small fixed subsets, sample by sample."""
