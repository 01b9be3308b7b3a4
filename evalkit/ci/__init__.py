"""Regression checks: every answer on small fixed subsets is compared with a stored baseline."""
