"""Other evaluation programs: their tasks on our engine, their files as our runs and the other way round."""
