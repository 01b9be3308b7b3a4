"""Drawn abilities, each with one knob: benchmarks that any checkpoint can answer without a data set."""
