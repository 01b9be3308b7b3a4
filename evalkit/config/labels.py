"""Which label a run spec gives to which of its systems."""

from __future__ import annotations

from pathlib import Path

from evalkit.config.model_option import check_unique, resolve, split_model_option
from evalkit.config.run_spec import RunSpec, SystemSpec, canonical_rope, is_variant, rope_files
from evalkit.core.errors import UsageError


def labels_by_system(spec: RunSpec) -> dict[SystemSpec, str]:
    """The label of each system that has one.

    Raises:
        UsageError: a label is of no system or of several, is given twice, or is another system's variant.
    """
    if not spec.labels:
        return {}
    files = rope_files(spec.ropes_dirs)
    systems = {f"{each.rope}={each.model}": each for each in spec.systems()}
    spelled = [(name, _spellings(name, each)) for name, each in systems.items()]
    found = {}
    for name, label in spec.labels.items():
        variant, model = split_model_option(name)
        written = name if variant is None else f"{canonical_rope(variant, files)}={model}"
        system = systems[resolve(canonical_rope(written, files), spelled)]
        if is_variant(label, files) and canonical_rope(label, files) != system.rope:
            raise UsageError(f"label `{label}` of `{name}`", "it is another variant", "give another label")
        found[system] = label
    named = [(f"{system.rope}={system.model}", label) for system, label in found.items()]
    check_unique(named, "give each its own; training seeds are grouped by `evalkit compare --group-by`")
    return found


def _spellings(name: str, system: SystemSpec) -> tuple[str, ...]:
    folder = Path(system.model).name
    return name, system.model, system.rope, folder, f"{folder}@{system.rope}"
