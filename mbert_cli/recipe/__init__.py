"""Recipes: from YAML to checked, frozen sections. No torch."""
