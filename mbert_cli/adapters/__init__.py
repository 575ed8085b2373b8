"""Adapters: one file a method, its name the `kind` in a recipe. The contract is `mbert_cli.encoder.adapter`."""

from mbert_cli.errors import OptionError


def check_rank(rank: int, hidden_size: int) -> None:
    """Check that a bottleneck is no wider than what it is put into.

    Raises:
        OptionError: it is.
    """
    if rank > hidden_size:
        raise OptionError("rank", f"must be at most {hidden_size} (the hidden size), but is {rank}")
