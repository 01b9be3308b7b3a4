"""Tests that prove a model family: ``pytest --pyargs evalkit.models.conformance --family NAME``.

They make a tiny checkpoint with random weights as the family's ``tiny`` module says, and compare evalkit with
transformers on it. Without ``--family``, all families are tested.
"""
