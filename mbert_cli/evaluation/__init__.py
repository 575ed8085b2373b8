"""Evaluate a model on labelled data, and fit thresholds and temperatures to dev files."""
