"""Where a model looks: attention on visual tokens, sinks, distances and fading, by layer and head."""
