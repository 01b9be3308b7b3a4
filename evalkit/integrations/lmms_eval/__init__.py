"""lmms-eval's tasks on evalkit's engine, and evalkit's models in lmms-eval's command line."""
