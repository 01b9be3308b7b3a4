"""From an official result's recorded source, variant and parameters to the variant of ours.

The differences between JJJYmmm/Multimodal-RoPEs ("unified") and the original repositories are
explained in ``docs/ropes.md``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.rope.grammar import write_value

Params = Mapping[str, Any]
Options = dict[str, Any]


@dataclass(frozen=True)
class MappedVariant:
    """A variant as it is written, and the name of the rule by which it departs from our defaults."""

    variant: str
    compat: str = ""


def sequence_variant(key: str, entry: Params) -> MappedVariant | None:
    """The variant whose positions a result should be; None if nothing is known of its source."""
    if entry.get("evalkit"):
        return MappedVariant(str(entry["evalkit"]))
    source, _, name = key.partition(".")
    if source == "unified" and entry.get("variant"):
        return _unified(str(entry["variant"]), entry.get("params") or {})
    if source == "original":
        return _original(name, str(entry.get("how", "")))
    if source.startswith("transformers-"):
        version, _, model = key.removeprefix("transformers-").rpartition(".")
        return _transformers(version, model)
    if entry.get("variant"):
        return _unified(str(entry["variant"]), entry.get("params") or {})
    return None


def write(name: str, options: Options) -> str:
    """``name(option=value,...)``."""
    inside = ",".join(f"{key}={write_value(value)}" for key, value in options.items())
    return f"{name}({inside})" if inside else name


def _unified(name: str, params: Params) -> MappedVariant | None:
    stride = params.get("temporal_stride")
    if name in ("vanilla-rope", "grape"):
        return MappedVariant({"vanilla-rope": "vanilla"}.get(name, name))
    if name == "mrope":
        # Its own default of 2 is not Qwen's.
        return MappedVariant(
            write("mrope", {"absolute_time": False, "temporal_stride": _number(stride, 2.0)})
        )
    if name in ("mrope-interleave", "mhrope"):
        ours = {"mrope-interleave": "mrope-i"}.get(name, name)
        reset = bool(params.get("spatial_reset", False))
        return MappedVariant(write(ours, {"spatial_reset": reset, "temporal_stride": _number(stride, 1.0)}))
    if name == "videorope":
        return MappedVariant(write("videorope", {"temporal_stride": _number(stride, 2.0)}))
    if name == "hope":
        strides = params.get("temporal_stride_lst") or [1.0]
        return MappedVariant(write("hope", {"temporal_stride": _number(strides[0], 1.0)}))
    return _unified_option(name, params)


def _unified_option(name: str, params: Params) -> MappedVariant | None:
    """Variants that need an option of ours, or settings that only tests use."""
    stride = params.get("temporal_stride")
    if name in ("ilrope", "omnirope"):
        ours = {"ilrope": "il-rope", "omnirope": "omni-rope"}[name]
        return MappedVariant(
            write(ours, {"text": "copy", "temporal_stride": _number(stride, 1.0)}), "text=copy"
        )
    if name == "mmrope":
        scale = tuple(float(each) for each in params.get("position_scale") or (1.0, 1.0, 1.0))
        return MappedVariant(write("mmrope", {"scale": scale}))
    if name == "v2pe":
        return MappedVariant(write("v2pe", {"span": _number(params.get("visual_stride"), 16.0)}), "span")
    if name == "circlerope":
        usual = {"radius": -1, "alpha": -1, "move_to_origin": False}
        return _circle({**usual, **params})
    return None


def _original(name: str, how: str) -> MappedVariant | None:
    family, _, rest = name.partition(".")
    if family == "qwen":
        found = {
            "rope2": "mrope(absolute_time=false)",
            "rope25": "mrope(absolute_time=true)",
            "rope3": "mrope-i(spatial_reset=false)",
        }
        return MappedVariant(found[rest]) if rest in found else None
    if family == "videorope":
        found = {
            "mrope": "mrope(absolute_time=false)",
            "vanilla": "vanilla",
            "time": "position=frames,frequency=temporal",
        }
        if rest in found:
            return MappedVariant(found[rest])
        factor = re.search(r"scale_factor=([\d.]+)", how)
        return MappedVariant(write("videorope", {"temporal_stride": _number(factor and factor[1], 2.0)}))
    if family == "hope":
        factor = re.search(r"scale_factors=\[([\d.]+)\]", how)
        return MappedVariant(write("hope", {"temporal_stride": _number(factor and factor[1], 1.0)}))
    if family == "circle":
        if "use_m_index" in how or rest == "m_index":
            return MappedVariant("mrope(absolute_time=true)")
        settings = re.search(r"\{.*\}", how)
        return _circle(ast.literal_eval(settings[0]) if settings else {})
    return None


def _circle(params: Params) -> MappedVariant:
    """The official configuration is our default; others are settings that only tests use."""
    options: Options = {}
    if "radius" in params:
        radius = params["radius"]
        options["radius"] = radius if isinstance(radius, str) else float(radius)
    for name in ("alpha", "move_to_origin"):
        if name in params:
            options[name] = params[name]
    lift = params.get("move_to_positive", False)
    options["move_to_positive"] = lift if isinstance(lift, (str, bool)) else float(lift)
    options["projection"] = float(params.get("dff_rate") or 0.0)
    if params.get("method", "circle") != "circle":
        options["projection"] = 1.0
    official = {"radius": 10.0, "alpha": 0.5, "move_to_origin": True, "projection": 0.0}
    unusual = [name for name, value in official.items() if options.get(name, value) != value]
    of_tests = options.get("alpha") == -1 or options["projection"] == 1.0
    return MappedVariant(write("circlerope", options), ",".join(unusual) if of_tests else "")


def _transformers(version: str, model: str) -> MappedVariant | None:
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    faults = []
    if model in ("qwen2_vl", "qwen2_5_vl") and number >= (5, 3):
        faults.append("hf5")
    if model == "qwen2_5_vl" and (4, 50) <= number < (5, 18):
        faults.append("int_seconds")
    compat = "+".join(faults)
    options: Options = {"compat": compat} if compat else {}
    if model in ("qwen3_vl", "qwen3_vl_moe"):
        return MappedVariant("mrope-i(spatial_reset=false)")
    if model in ("qwen2_vl", "qwen2_5_vl"):
        return MappedVariant(write("mrope", {"absolute_time": model == "qwen2_5_vl", **options}), compat)
    return None


def spectrum_variant(name: str, params: Params | None) -> MappedVariant | None:
    """The variant whose axis map a spectrum has; ``name`` without base and scaling.

    ``params``: what the unified repository was called with, ``{"variant": ..., "params": {...}}``.
    """
    source, _, rest = name.partition(".")
    if source == "unified" and params:
        return _unified_spectrum(str(params["variant"]), params.get("params") or {})
    section = re.search(r"(\d+)_(\d+)_(\d+)$", rest)
    options: Options = {"allocation": tuple(int(each) for each in section.groups())} if section else {}
    kind = rest.partition(".")[0] if source == "original" else rest.rpartition(".")[2]
    if kind == "mmrope_lumos":
        return MappedVariant("mmrope")
    for ending, ours in (
        ("videorope_official", "videorope"),
        ("hope_official", "hope"),
        ("mrope_i", "mrope-i"),
    ):
        if kind == ending:
            return MappedVariant(write(ours, options))
    return MappedVariant(write("mrope", options)) if kind.startswith("mrope") else None


def _unified_spectrum(name: str, params: Params) -> MappedVariant | None:
    section = params.get("mrope_section")
    options: Options = {"allocation": tuple(section)} if section else {}
    if name in ("vanilla-rope", "mrope", "mhrope"):
        ours = {"vanilla-rope": "vanilla"}.get(name, name)
        return MappedVariant(write(ours, options))
    if name == "mrope-interleave":
        t, h, w = section or (24, 20, 20)
        if t >= h == w:
            return MappedVariant(write("mrope-i", options))
        return MappedVariant(write("mrope-i", {**options, "slices": True}), "slices")
    if name in ("videorope", "hope"):
        return MappedVariant(write(name, {**options, "unified_offset": True}), "unified_offset")
    if name == "mmrope":
        return MappedVariant("mmrope(period=8)", "period=8")
    if name == "ilrope":
        return MappedVariant(write("mrope-i", options))
    if name == "omnirope":
        return MappedVariant(write("omni-rope", options))
    if name == "grape":
        options = {"layout": params["frequency_allocation"]} if "frequency_allocation" in params else {}
        power = float(params.get("log_freq_scale", 1.0))
        text = write("grape", options)
        if power != 1.0:
            text = f"{text.removesuffix(')')}{',' if options else '('}scaling=power({write_value(power)}))"
        return MappedVariant(text)
    return {"v2pe": MappedVariant("v2pe"), "circlerope": MappedVariant(write("circlerope", options))}.get(
        name
    )


def _number(value: Any, usual: float) -> float:
    return usual if value is None else float(value)
