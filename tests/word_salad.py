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


def sentences(count: int, seed: int, longest: int = 9) -> list[str]:
    """Word salads of ragged lengths."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, longest))) for _ in range(count)]
