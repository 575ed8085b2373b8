"""Recipes: from YAML to checked, frozen sections.

Must not import torch: fast start-up.
"""
