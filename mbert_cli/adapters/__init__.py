"""Adapters: methods that change the encoder for one task.

To add an adapter, add one file here. For `{kind: low_rank}`, the file is `low_rank.py` and the class is `LowRank`: the
kind without underscores, in any capitals. The base class is `Adapter` in `encoder/adapter.py`. The constructor takes
the sizes of the encoder; its keyword-only parameters are the options in a recipe.
`tests/adapters/test_every_adapter.py` tests every file here; `tests/components.py` has the options for tests. The
users' list is in `guide/adapters.md`.
"""

from mbert_cli.errors import OptionError


def check_rank(rank: int, hidden_size: int) -> None:
    """Check that a bottleneck is not wider than the hidden states.

    Raises:
        OptionError: rank is above hidden_size.
    """
    if rank > hidden_size:
        raise OptionError("rank", f"must be at most {hidden_size} (the hidden size), but is {rank}")
