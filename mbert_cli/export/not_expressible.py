"""The reason why another library cannot represent a part of a model, or mbert a part of another library."""


class NotExpressibleError(Exception):
    """The message is the reason, as a predicate without its subject: "has no tanh"."""
