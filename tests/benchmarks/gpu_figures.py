"""Formulas and targets of gpu_session.py."""

PEAK_TFLOPS = {
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "B200": 2250.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.2,
}
"""Published dense peak of matrix products in bf16, by a part of the GPU's name. The first that fits is used."""


def peak_tflops(name):
    """Return the peak of a GPU, or None if it is not known."""
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def step_flops(shape, lengths):
    """Return the floating-point operations of a training step of an encoder, forward and backward.

    6 N T + 12 L H sum(n^2): N are the weights of the layers' matrix products, T the tokens, L the layers, H the hidden
    size, and n the number of tokens of each sentence (products of queries with keys, and of their weights with values).
    Embeddings, heads and everything that is no matrix product are not counted.

    Args:
        shape: sizes of the encoder.
        lengths: number of tokens of each sentence of the step.
    """
    weights = shape.num_layers * (4 * shape.hidden_size**2 + 2 * shape.hidden_size * shape.intermediate_size)
    attention = 12 * shape.num_layers * shape.hidden_size * sum(length**2 for length in lengths)
    return 6 * weights * sum(lengths) + attention


def targets(steps, predictions):
    """Return what is to be reached and what was measured: pairs of a text and (measured, least), if both ran.

    Args:
        steps: the row of each (encoder, contender, tokens) of the table of steps.
        predictions: sentences per second of each contender in prediction.
    """
    ours = "mbert"
    small, large = ("minilm-random", 2750), ("bert-base", 16000)
    found = {
        "BERT-base, 16k tokens: MFU": (_value(steps, large, ours, "mfu"), 0.40),
        "MiniLM, 2.75k tokens: steps per second": (_value(steps, small, ours, "steps_per_s"), 400),
        "MiniLM, 2.75k tokens: times as fast as transformers": (_ratio(steps, small, ours, "hf_bf16_fused"), 4),
        "MiniLM, 2.75k tokens: times as fast as sentence-transformers": (_ratio(steps, small, ours, "st_bf16"), 3),
        "BERT-base, 16k tokens: busy share": (_value(steps, large, ours, "busy"), 0.90),
        "MiniLM, 2.75k tokens: busy share": (_value(steps, small, ours, "busy"), 0.90),
    }
    if "quora_bf16" in predictions and "quora_st_bf16" in predictions:
        ratio = predictions["quora_bf16"] / predictions["quora_st_bf16"]
        found["prediction: times as fast as sentence-transformers"] = (ratio, 5)
    return {text: pair for text, pair in found.items() if pair[0] is not None}


def _value(steps, size, name, key):
    encoder, tokens = size
    return steps.get((encoder, name, tokens), {}).get(key)


def _ratio(steps, size, name, peer):
    own, other = (_value(steps, size, each, "steps_per_s") for each in (name, peer))
    return own / other if own and other else None
