"""The JSON schema of evalkit's files: ``python -m tools.json_schema > docs/schema.json``."""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

from pydantic import TypeAdapter

from evalkit.ci.policy import PRESETS, TIERS, Policy
from evalkit.config.run_spec import SHORT_NAMES, RunSpec
from evalkit.data.lock import LockFile
from evalkit.store import Manifest, Record

FILES: dict[str, type[Any]] = {
    "manifest.json": Manifest,
    "records.jsonl": Record,
    "run.yaml": RunSpec,
    "policy.yaml": Policy,
    "evalkit.lock.json": LockFile,
}


# What a file has beside the fields of its model: checksums, and a command's options by their short names.
BESIDE = {
    "manifest.json": {"sha256": {"type": "string", "description": "Of all the rest, as sorted JSON."}},
    "records.jsonl": {"crc32": {"type": "string", "description": "Of the rest of the line, as it stands."}},
}


def schema() -> dict[str, Any]:
    """One schema for all: ``$defs`` has the parts, ``properties`` what each file (or line of one) is."""
    mode: Literal["validation"] = "validation"
    adapters: list[tuple[str, Literal["validation"], TypeAdapter[Any]]] = [
        (name, mode, TypeAdapter(kind)) for name, kind in FILES.items()
    ]
    found, shared = TypeAdapter.json_schemas(adapters, title="Files of evalkit")
    parts = {name: part for (name, _), part in found.items()}
    for name, more in BESIDE.items():
        shared["$defs"][FILES[name].__name__]["properties"] |= more
    parts["run.yaml"] = _run_yaml(shared["$defs"]["RunSpec"])
    parts["policy.yaml"] = _policy_yaml(shared["$defs"]["Limits"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **shared, "properties": parts}


def _run_yaml(spec: dict[str, Any]) -> dict[str, Any]:
    """A run's options under all the names that they go by; those left out are typed."""
    fields = dict(spec["properties"])
    fields |= {short: fields[long] for short, long in SHORT_NAMES.items()}
    fields |= {name.replace("_", "-"): field for name, field in fields.items()}
    return {"type": "object", "properties": fields, "additionalProperties": False}


def _policy_yaml(limits: dict[str, Any]) -> dict[str, Any]:
    """Limits and tier of every task, limits of tiers, both for single tasks; limits may name a preset."""
    fields = {name: _without_none(field) for name, field in limits["properties"].items()}
    fields["limits"] = {"enum": list(PRESETS)}
    of_tier: dict[str, Any] = {"type": "object", "properties": fields, "additionalProperties": False}
    own = {**fields, "tier": {"enum": list(TIERS)}}
    of_task = {**of_tier, "properties": own}
    more = {
        "tiers": {**of_tier, "properties": dict.fromkeys(TIERS, of_tier)},
        "tasks": {"type": "object", "additionalProperties": of_task},
    }
    return {**of_task, "properties": {**own, **more}}


def _without_none(field: dict[str, Any]) -> dict[str, Any]:
    """A field that may be absent, but not null."""
    kinds = [each for each in field.get("anyOf", ()) if each.get("type") != "null"]
    rest = {name: value for name, value in field.items() if name not in ("anyOf", "default")}
    return {**rest, **kinds[0]} if kinds else field


if __name__ == "__main__":
    json.dump(schema(), sys.stdout, indent=1)
    sys.stdout.write("\n")
