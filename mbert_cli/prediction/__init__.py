"""Prediction of tables, and `Predictor` for Python."""
