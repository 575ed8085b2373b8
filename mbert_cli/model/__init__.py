"""The multi-task model: build it from a recipe, count its parameters, save it and read it."""
