"""Metrics of a model on data, and what is fitted to dev."""
