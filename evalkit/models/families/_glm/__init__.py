"""What the GLM-V families share: preprocessing and the values of their adapters."""
