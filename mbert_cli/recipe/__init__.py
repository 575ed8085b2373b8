"""YAML to a frozen, checked recipe; no torch."""
