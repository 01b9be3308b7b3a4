"""The JSON schema of evalkit's files: ``python -m evalkit.schema > docs/schema.json``."""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

from pydantic import TypeAdapter

from evalkit.ci.policy import Policy
from evalkit.data.lock import LockFile
from evalkit.spec import RunSpec
from evalkit.store import Manifest, Record

FILES = {
    "manifest.json": Manifest,
    "records.jsonl": Record,
    "run.yaml": RunSpec,
    "policy.yaml": Policy,
    "evalkit.lock.json": LockFile,
}


def schema() -> dict[str, Any]:
    """One schema for all: ``$defs`` has the parts, ``properties`` what each file (or line of one) is."""
    mode: Literal["validation"] = "validation"
    adapters: list[tuple[str, Literal["validation"], TypeAdapter[Any]]] = [
        (name, mode, TypeAdapter(kind)) for name, kind in FILES.items()
    ]
    found, shared = TypeAdapter.json_schemas(adapters, title="Files of evalkit")
    parts = {name: part for (name, _), part in found.items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **shared, "properties": parts}


if __name__ == "__main__":
    json.dump(schema(), sys.stdout, indent=1)
    sys.stdout.write("\n")
