"""The multi-task model: built from a recipe, counted, saved, read."""
