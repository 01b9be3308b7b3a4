"""Runs on disk: journal, records, manifest."""

from __future__ import annotations

from evalkit.store.journal import Journal, JournalWriter, read_journal
from evalkit.store.records import Record
from evalkit.store.rundir import Plan, RunDir, planned

__all__ = ["Journal", "JournalWriter", "Plan", "Record", "RunDir", "planned", "read_journal"]
