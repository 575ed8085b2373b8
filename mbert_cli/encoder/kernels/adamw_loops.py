"""AdamW on some rows of a table, including the steps without gradient that these rows skipped."""

import math
from typing import no_type_check

from numba import prange, types

from mbert_cli.encoder.kernels.adamw_plain import REPLAYED
from mbert_cli.encoder.kernels.compiling import compiled
from mbert_cli.encoder.kernels.lanes import WIDTH, fma, load, splat, square_root, store


@compiled
@no_type_check
def replay(
    table, means, squares, current, rows, now, known, logs, decays, rates, roots, beta_1, beta_2, eps, hidden, chunks
):
    """Apply the steps up to `now` in which rows had no gradient.

    In step k, with m and v the moments: p *= 1 - lr_k wd; m *= beta_1; v *= beta_2;
    p -= lr_k / (1 - beta_1^k) m / (sqrt(v) / sqrt(1 - beta_2^k) + eps).

    Args:
        table, means, squares: parameters and moments, flat.
        current: for each row of the table, the last step that it took; is set to `now`.
        rows: the rows to update; distinct.
        now: a step, counted from 1.
        known: number of steps up to `now` for which the next arguments have values; at least all that a row skipped.
        logs: [known + 1]: sums of log(1 - lr_k wd) over the steps before each known step, then over all known steps.
        decays, rates, roots: for each known step k: 1 - lr_k wd; lr_k / (1 - beta_1^k); 1 / sqrt(1 - beta_2^k).
        beta_1, beta_2, eps: constants of AdamW.
        hidden: number of features of a row.
        chunks: number of parts that the rows are split into.
    """
    f = types.float32
    shrink, root_shrink = splat(f(beta_1)), splat(f(math.sqrt(beta_2)))
    epsilon = splat(f(eps))
    begin = now - known  # the step before the first known step
    for chunk in prange(chunks):
        for index in range(chunk, len(rows), chunks):
            row = rows[index]
            first = current[row]
            last = min(now, first + REPLAYED)
            rest = now - last
            after = f(math.exp(logs[known] - logs[last - begin]))
            mean_after, square_after = f(beta_1**rest), f(beta_2**rest)
            if first < now:
                current[row] = now
                for column in range(row * hidden, (row + 1) * hidden, WIDTH):
                    value, mean, square = load(table, column), load(means, column), load(squares, column)
                    root = square_root(square)
                    for step in range(first - begin, last - begin):
                        mean = mean * shrink
                        root = root * root_shrink
                        decay = splat(f(decays[step]))
                        change = mean / fma(root, splat(f(roots[step])), epsilon)
                        value = fma(value, decay, change * splat(f(-rates[step])))
                    store(table, column, value * splat(after))
                    store(means, column, mean * splat(mean_after))
                    store(squares, column, root * root * splat(square_after))


@compiled
@no_type_check
def update(
    table, means, squares, current, rows, gradients, now, decay, rate, root, beta_1, beta_2, eps, hidden, chunks
):
    """Apply the step `now` to rows with their gradients; the rows must already have taken all earlier steps.

    Args:
        table, means, squares, current, rows: as in `replay`.
        gradients: [rows * hidden].
        now: the step, counted from 1.
        decay: 1 - lr wd.
        rate: lr / (1 - beta_1^now).
        root: 1 / sqrt(1 - beta_2^now).
        beta_1, beta_2, eps, hidden, chunks: as in `replay`.
    """
    f = types.float32
    for chunk in prange(chunks):
        for index in range(chunk, len(rows), chunks):
            row = rows[index]
            current[row] = now
            for column in range(0, hidden, WIDTH):
                at = row * hidden + column
                gradient = load(gradients, index * hidden + column)
                mean = fma(load(means, at), splat(f(beta_1)), gradient * splat(f(1 - beta_1)))
                square = fma(load(squares, at), splat(f(beta_2)), gradient * gradient * splat(f(1 - beta_2)))
                change = mean / fma(square_root(square), splat(f(root)), splat(f(eps)))
                store(table, at, fma(load(table, at), splat(f(decay)), change * splat(f(-rate))))
                store(means, at, mean)
                store(squares, at, square)
