"""The sum of the gradients of all processes."""

from collections.abc import Collection, Iterable

import torch
from torch import Tensor

from mbert_cli.machine.process_group import Processes


def sum_gradients(
    processes: Processes, parameters: Iterable[Tensor], table: Tensor, words: Tensor, done: Collection[Tensor] = ()
) -> None:
    """Replace all gradients by their sums over the processes, in one exchange.

    Only the rows of the word embeddings that occur in the whole batch are exchanged: the others are zero.

    Args:
        processes: the processes; all have gradients on the same parameters.
        parameters: the parameters, in the same order in all processes.
        table: the word embeddings, whose gradient may be sparse.
        words: the ids of the words of the whole batch, sorted, each once.
        done: parameters whose gradients are sums already.
    """
    if processes.is_alone:
        return
    known = {id(parameter) for parameter in done}
    trained = [each for each in parameters if each.grad is not None and id(each) not in known]
    if not trained:
        return
    parts = [_rows_of(each, words) if each is table else each.grad for each in trained]
    flat = processes.add(torch.cat([part.flatten() for part in parts if part is not None]))
    sizes = [part.numel() for part in parts if part is not None]
    for parameter, part in zip(trained, flat.split(sizes), strict=True):
        if parameter is table:
            _set_rows(parameter, words, part.view(len(words), -1))
        else:
            parameter.grad = part.view_as(parameter)


def _rows_of(table: Tensor, words: Tensor) -> Tensor:
    """Return the gradients of the rows of some words."""
    gradient = table.grad
    assert gradient is not None
    if not gradient.is_sparse:
        return gradient.index_select(0, words)
    gradient = gradient.coalesce()
    places = torch.searchsorted(words, gradient.indices()[0])
    rows = gradient.values()
    return rows.new_zeros(len(words), rows.shape[1]).index_copy_(0, places, rows)


def _set_rows(table: Tensor, words: Tensor, rows: Tensor) -> None:
    """Set the gradients of the rows of some words."""
    assert table.grad is not None
    if table.grad.is_sparse:
        table.grad = torch.sparse_coo_tensor(words[None], rows, table.shape, is_coalesced=True, check_invariants=False)
    else:
        table.grad.index_copy_(0, words, rows)
