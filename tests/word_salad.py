"""Made-up sentences, and the vocabulary of the tiny checkpoint."""

import random

WORDS = [
    "the",
    "a",
    "an",
    "cat",
    "dog",
    "bird",
    "man",
    "woman",
    "child",
    "is",
    "was",
    "runs",
    "sleeps",
    "eats",
    "sings",
    "reads",
    "good",
    "bad",
    "fine",
    "great",
    "awful",
    "red",
    "blue",
    "green",
    "small",
    "large",
    "very",
    "not",
    "and",
    "but",
    "in",
    "on",
    "under",
    "house",
    "garden",
    "street",
    "book",
    "song",
    "what",
    "how",
    "why",
    "?",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TINY_SIZES = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 48,
    "type_vocab_size": 2,
}
"""Sizes of a BERT for this vocabulary."""


def sentences(count: int, seed: int, longest: int = 9) -> list[str]:
    """Return random sentences of 1 to `longest` words."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, longest))) for _ in range(count)]
