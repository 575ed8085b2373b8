"""The sum of each token's embeddings, with sparse gradients of the word embeddings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mbert_cli.encoder.kernels.embedding_loops import add_embeddings, add_rows
from mbert_cli.encoder.kernels.views import CHUNKS, flat


def are_rows(tables: Sequence[Tensor], ids: Sequence[Tensor]) -> bool:
    """Return whether there are ids and each is a row of its table. The loops do not check bounds."""
    if not len(ids[0]):
        return False
    arrays = [rows.numpy() for rows in ids]
    return all(rows.min() >= 0 and rows.max() < len(table) for table, rows in zip(tables, arrays, strict=True))


class Embeddings(torch.autograd.Function):
    """For each token, the sum of one row of each of three tables. Arguments: three arrays of rows, three tables."""

    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> Tensor:
        """Return the sums."""
        ids, tables = arguments[:3], arguments[3:]
        ctx.ids = [rows.numpy() for rows in ids]
        ctx.sizes = [table.shape for table in tables]
        hidden = tables[0].shape[1]
        out = torch.from_numpy(np.empty((len(ids[0]), hidden), np.float32))
        add_embeddings(*(flat(table) for table in tables), *ctx.ids, hidden, CHUNKS, flat(out))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the derivatives of the tables; that of the first one is sparse."""
        dy = gradients[0].contiguous()
        derivatives: list[Tensor | None] = [None, None, None]
        for index, (ids, (rows, hidden)) in enumerate(zip(ctx.ids, ctx.sizes, strict=True)):
            if not ctx.needs_input_grad[3 + index]:
                derivatives.append(None)
                continue
            order = np.argsort(ids, kind="stable")
            distinct, starts = np.unique(ids[order], return_index=True)
            sums = np.empty((len(distinct), hidden), np.float32)
            add_rows(flat(dy), order, np.append(starts, len(ids)), hidden, CHUNKS, sums.ravel())
            if index == 0:
                places, values = torch.from_numpy(distinct)[None], torch.from_numpy(sums)
                derivatives.append(
                    torch.sparse_coo_tensor(places, values, (rows, hidden), is_coalesced=True, check_invariants=False)
                )
            else:
                dense = np.zeros((rows, hidden), np.float32)
                dense[distinct] = sums
                derivatives.append(torch.from_numpy(dense))
        return tuple(derivatives)
