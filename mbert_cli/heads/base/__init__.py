"""The base classes of heads. A recipe cannot name them as a kind, because `model.components` skips packages."""
