"""Licences of what is installed, and known vulnerabilities of what constraints.txt pins.

Run by ``make audit`` with the path of ``uv``. Exits with 1 if a pinned version is known to be vulnerable; an
index that doesn't answer is said, and so is each package that it couldn't be asked about: they aren't called
safe.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
AUDIT = ("tool", "run", "--quiet", "pip-audit", "--disable-pip", "--no-deps", "--progress-spinner", "off")


def licence_of(package: metadata.Distribution) -> str:
    """Its licence in a few words, from the first field that says it."""
    about = package.metadata
    classes = [each.rpartition(" :: ")[2] for each in about.get_all("Classifier", []) if "License ::" in each]
    lines = (about.get("License") or "").strip().splitlines()
    return about.get("License-Expression") or ", ".join(classes) or (lines or ["not said"])[0][:60]


def pinned() -> list[str]:
    """Packages of constraints.txt."""
    return re.findall(r"^([A-Za-z0-9_.-]+)==", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)


def licences() -> list[str]:
    """A line for each pinned package that is installed."""
    found = []
    for name in pinned():
        try:
            found.append(f"{name}: {licence_of(metadata.distribution(name))}")
        except metadata.PackageNotFoundError:
            continue
    return found


def verdict(packages: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What pip-audit's JSON says, in lines, and the exit code."""
    skipped = [each for each in packages if "skip_reason" in each]
    bad = [each for each in packages if each.get("vulns")]
    known = {f"{each['name']} {each['version']}": [found["id"] for found in each["vulns"]] for each in bad}
    lines = [f"{name}: {', '.join(ids)}" for name, ids in known.items()]
    lines.append(f"{len(packages) - len(skipped)} packages audited, {len(bad)} with known vulnerabilities")
    if skipped:
        reasons = Counter(re.sub(r": .*", "", each["skip_reason"]) for each in skipped)
        lines += [f"{count} not audited: {reason}" for reason, count in reasons.items()]
    return lines, int(bool(bad))


def main(uv: str) -> int:
    """Print both lists."""
    print(*licences(), sep="\n")
    words = [uv, *AUDIT, "--timeout", "10", "--format", "json", "--requirement", str(CONSTRAINTS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it left without a word"])[-1]
        print(f"no audit: pip-audit could not be run, or no index of vulnerabilities answers ({last})")
        return 0
    lines, code = verdict(packages)
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
