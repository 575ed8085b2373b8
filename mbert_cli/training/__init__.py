"""Training: from examples to a saved model."""
