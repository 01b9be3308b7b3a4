"""Why a variant behaves as it does: its positions and spectrum, its attention, and what it generates."""
