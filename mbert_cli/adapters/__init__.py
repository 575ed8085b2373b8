"""Adapters, one method per file. The file name is the `kind` in a recipe. The base class is in `encoder.adapter`."""

from mbert_cli.errors import OptionError


def check_rank(rank: int, hidden_size: int) -> None:
    """Check that a bottleneck is not wider than the hidden states.

    Raises:
        OptionError: rank is above hidden_size.
    """
    if rank > hidden_size:
        raise OptionError("rank", f"must be at most {hidden_size} (the hidden size), but is {rank}")
