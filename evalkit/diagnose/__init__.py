"""Why a variant wins: what it makes of a model's attention."""
