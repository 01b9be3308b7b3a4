"""Runs on disk: journal, records, manifest."""

from __future__ import annotations

from evalkit.store.journal import Journal, JournalWriter, read_journal
from evalkit.store.locks import exclusive
from evalkit.store.manifest import (
    IMPORTED,
    Audit,
    Evaluation,
    Imported,
    Inputs,
    Invocation,
    Manifest,
    Protocol,
    ScoredWith,
    Scoring,
    SystemEntry,
    TaskEntry,
)
from evalkit.store.records import Record
from evalkit.store.rundir import RunDir

__all__ = [
    "IMPORTED",
    "Audit",
    "Evaluation",
    "Imported",
    "Inputs",
    "Invocation",
    "Journal",
    "JournalWriter",
    "Manifest",
    "Protocol",
    "Record",
    "RunDir",
    "ScoredWith",
    "Scoring",
    "SystemEntry",
    "TaskEntry",
    "exclusive",
    "read_journal",
]
