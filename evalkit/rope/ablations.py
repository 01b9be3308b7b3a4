"""The ablations of the paper (arXiv 2510.23095) as variants: the rows of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ABLATIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # Position designs; the allocation is interleave everywhere.
        "table4": {
            "vanilla RoPE": "vanilla",
            "+ 3D structure": "mrope-i(spatial_reset=false)",
            "+ 3D + spatial-reset": "mrope-i",
            "+ diagonal layout": "position=diagonal,frequency=interleave",
            "+ modality interval": "rope-tie",
            "+ text spatial-reset": "mrope-i(text=zero)",
            "+ scaling rotary base": "mrope-i(scaling=base)",
        },
        # Frequency allocations; the position design is MRoPE with spatial reset everywhere.
        "table5": {
            "VideoRoPE-like": "mrope-i(frequency=videorope)",
            "IL-RoPE-like": "mrope-i(frequency=ilrope)",
            "Multi-Head": "mhrope",
            "Interleave": "mrope-i",
        },
        # Context extension; the factor of the paper's 256K experiment is not given: 256K / 32K.
        "table6": {
            "MRoPE": "mrope(absolute_time=false)",
            "MRoPE + YaRN": "mrope(absolute_time=false,scaling=yarn(8))",
            "MRoPE-I": "mrope-i",
            "MRoPE-I + YaRN": "mrope-i(scaling=yarn(8))",
        },
        # Shares of time, height and width, for heads of 64 pairs.
        "table8": {
            "0:32:32": "mrope-i(allocation=[0,32,32])",
            "12:26:26": "mrope-i(allocation=[12,26,26])",
            "24:20:20": "mrope-i(allocation=[24,20,20])",
            "32:16:16": "mrope-i(allocation=[32,16,16])",
            "48:8:8": "mrope-i(allocation=[48,8,8])",
        },
        # Temporal strides; "dynamic" is drawn in training only and is 1 at inference.
        "table9": {
            "0.5": "mrope-i(temporal_stride=0.5)",
            "1": "mrope-i",
            "2": "mrope-i(temporal_stride=2)",
            "dynamic": "mrope-i",
        },
    }
)
