"""The sum of the embeddings of each token, and the derivatives of the tables, row by row."""

from typing import no_type_check

from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled
from mbert_cli.encoder.kernels.lanes import WIDTH, load, splat, store


@compiled
@no_type_check
def add_embeddings(words, positions, kinds, word_of, position_of, kind_of, hidden, chunks, out):
    """Write words[word_of] + positions[position_of] + kinds[kind_of], row by row.

    Args:
        words, positions, kinds: the tables, flat.
        word_of, position_of, kind_of: for each token, its row in each table.
        hidden: number of features of a row.
        chunks: number of parts that the tokens are split into.
        out: [tokens * hidden].
    """
    tokens = len(word_of)
    for chunk in prange(chunks):
        for token in range(chunk * tokens // chunks, (chunk + 1) * tokens // chunks):
            for column in range(0, hidden, WIDTH):
                value = load(words, word_of[token] * hidden + column)
                value = value + load(positions, position_of[token] * hidden + column)
                value = value + load(kinds, kind_of[token] * hidden + column)
                store(out, token * hidden + column, value)


@compiled
@no_type_check
def add_rows(values, order, starts, hidden, chunks, out):
    """Write the sum of each group of rows of `values` to a row of `out`; rows are added in their order.

    Args:
        values: [rows * hidden].
        order: the indices of the rows, sorted by group.
        starts: the start of each group in `order`, then the end of the last group.
        hidden: number of features of a row.
        chunks: number of parts that the groups are split into.
        out: [groups * hidden].
    """
    groups = len(starts) - 1
    for chunk in prange(chunks):
        for group in range(chunk, groups, chunks):
            for column in range(0, hidden, WIDTH):
                sums = splat(types.float32(0))
                for place in range(starts[group], starts[group + 1]):
                    sums = sums + load(values, order[place] * hidden + column)
                store(out, group * hidden + column, sums)
