"""The mean of the rows of each sentence, and its derivative."""

from typing import no_type_check

from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled
from mbert_cli.encoder.kernels.lanes import WIDTH, load, splat, store


@compiled
@no_type_check
def mean_rows(x, starts, lengths, hidden, chunks, y):
    """Write the mean of the rows of each sentence.

    Args:
        x: [tokens * hidden].
        starts, lengths: the first row and the number of rows of each sentence.
        hidden: number of features of a row.
        chunks: number of parts that the sentences are split into.
        y: [sentences * hidden], fp32.
    """
    sentences = len(starts)
    for chunk in prange(chunks):
        for sentence in range(chunk * sentences // chunks, (chunk + 1) * sentences // chunks):
            first, count = starts[sentence], lengths[sentence]
            share = splat(types.float32(1) / types.float32(count))
            for column in range(0, hidden, WIDTH):
                sums = splat(types.float32(0))
                for row in range(first, first + count):
                    sums = sums + load(x, row * hidden + column)
                store(y, sentence * hidden + column, sums * share)


@compiled
@no_type_check
def mean_rows_backward(dy, starts, lengths, hidden, chunks, dx):
    """Write the derivative of `mean_rows`; same arguments, but dy: [sentences * hidden], dx: [tokens * hidden]."""
    sentences = len(starts)
    for chunk in prange(chunks):
        for sentence in range(chunk * sentences // chunks, (chunk + 1) * sentences // chunks):
            first, count = starts[sentence], lengths[sentence]
            share = splat(types.float32(1) / types.float32(count))
            for column in range(0, hidden, WIDTH):
                value = load(dy, sentence * hidden + column) * share
                for row in range(first, first + count):
                    store(dx, row * hidden + column, value)
