"""The limit of a training step or of a prediction: the time of its matrix products alone, on prepared operands.

The products inside attention (queries with keys, weights with values) are left out: with n tokens per sentence they
are about n / 6 hidden_size of the others, a hundredth here. Those of the heads are left out, too, and those with the
embeddings of distances (DeBERTa). All layers use the
same operands, which are in the cache more often than those of a real step.
"""

import time
from collections import Counter
from itertools import product

_TRIES = 3


def linear(tokens, inputs, outputs, into=True, trains=True):
    """Return the products of a linear layer: [rows, inner] @ [inner, columns] as (rows, inner, columns).

    Args:
        tokens: number of tokens.
        inputs: number of input features.
        outputs: number of output features.
        into: whether its input needs a gradient.
        trains: whether its weight needs a gradient.
    """
    found = [(tokens, inputs, outputs)]
    found += [(tokens, outputs, inputs)] if into else []
    return found + ([(outputs, tokens, inputs)] if trains else [])


def layer(tokens, shape, attention_into=True, feed_forward_into=True, trains=True):
    """Return the products of an encoder layer.

    Args:
        tokens: number of tokens.
        shape: sizes of the encoder.
        attention_into: whether the attention sublayer's input needs a gradient.
        feed_forward_into: whether the feed-forward sublayer's input needs a gradient.
        trains: whether the weights need gradients.
    """
    hidden = shape.hidden_size
    # If weights train below it, the attention's output needs a gradient, even if the input of its queries does not.
    return [
        *linear(tokens, hidden, 3 * hidden, attention_into, trains),
        *linear(tokens, hidden, hidden, attention_into or trains, trains),
        *linear(tokens, hidden, shape.intermediate_width, feed_forward_into, trains),
        *linear(tokens, shape.intermediate_size, hidden, feed_forward_into, trains),
    ]


def step(method, tokens, shape, rank):
    """Return the products of a training step and how often each is computed; None if the method is not known here.

    Args:
        method: `full`, `houlsby`, `top` or `top_cached`. In the last three only the adapters train. In `top_cached` the
            encoder is not computed.
        tokens: number of tokens of each task.
        shape: sizes of the encoder.
        rank: rank of Houlsby's bottlenecks.
    """
    if method not in ("full", "houlsby", "top", "top_cached"):
        return None
    # Rounded to a multiple of 64, for which products are fastest.
    whole, *tokens = (max(64, round(each / 64) * 64) for each in (sum(tokens), *tokens))
    found = []
    if shape.projects_embeddings and method != "top_cached":
        trains = method == "full"
        found += linear(whole, shape.embedding_width, shape.hidden_size, into=trains, trains=trains)
    for index in range(0 if method == "top_cached" else shape.num_layers):
        if method == "full":
            found += layer(whole, shape)
        elif method == "top":
            found += layer(whole, shape, attention_into=False, feed_forward_into=False, trains=False)
        else:
            # Nothing needs a gradient below the first bottleneck, which is after the first layer's attention.
            found += layer(whole, shape, attention_into=index > 0, trains=False)
            for site, each in product(range(2), tokens):
                found += linear(each, shape.hidden_size, rank, into=index + site > 0)
                found += linear(each, rank, shape.hidden_size)
    if method in ("top", "top_cached"):
        for each in tokens:
            found += layer(each, shape, attention_into=False)
    return Counter(found)


def prediction(tokens, shape):
    """Return the products of a forward pass, and how often each is computed.

    Args:
        tokens: number of tokens.
        shape: sizes of the encoder.
    """
    return Counter(shape.num_layers * layer(tokens, shape, attention_into=False, feed_forward_into=False, trains=False))


def measure_int8(products, repeats):
    """Return the seconds that all products take together in int8, measured `repeats` times.

    They are computed in blocks of rows, by mbert's loop, if it supports the processor; otherwise by oneDNN.
    """
    import int8_products
    import torch

    calls = []
    for (rows, inner, columns), count in products.items():
        x, weight = (torch.randint(-127, 128, (size, inner), dtype=torch.int8) for size in (rows, columns))
        calls += [int8_products.product(x, weight)] * count
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for call in calls:
            call()
        times.append(time.perf_counter() - start)
    return times[1:]


def measure(products, bf16, repeats):
    """Return the seconds that all products take together, measured `repeats` times.

    On a CPU without instructions for bf16, they are computed in fp32, as mbert does. Each product uses the memory order
    that is fastest on this machine: either operand may be stored transposed, and the result may be computed transposed.
    """
    import torch

    from mbert_cli.encoder.kernels import bf16_products

    slow = bf16_products.are_slow(torch.device("cpu"), torch.bfloat16)
    dtype = torch.bfloat16 if bf16 and not slow else torch.float32
    calls = []
    for (rows, inner, columns), count in products.items():
        candidates = []
        for left_lies, right_lies, result_lies in product((False, True), repeat=3):
            left = _matrix(rows, inner, left_lies, dtype)
            right = _matrix(inner, columns, right_lies, dtype)
            if result_lies:
                left, right = right.t(), left.t()
            candidates.append((left, right, torch.empty(left.shape[0], right.shape[1], dtype=dtype)))
        calls += [min(candidates, key=_seconds)] * count
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for left, right, out in calls:
            torch.mm(left, right, out=out)
        times.append(time.perf_counter() - start)
    return times[1:]


def _matrix(rows, columns, transposed, dtype):
    import torch

    return torch.randn(columns, rows).to(dtype).t() if transposed else torch.randn(rows, columns).to(dtype)


def _seconds(operands):
    import torch

    left, right, out = operands
    times = []
    for _ in range(_TRIES + 1):
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        times.append(time.perf_counter() - start)
    return min(times[1:])
