"""The sizes of well-known encoders: counting parameters then needs no file and no network."""

from dataclasses import replace
from typing import Any

from mbert_cli.encoder.families import family
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.messages import closest

_LARGE: dict[str, Any] = {"hidden_size": 1024, "num_layers": 24, "num_heads": 16, "intermediate_size": 4096}
_MINI: dict[str, Any] = {
    "hidden_size": 384,
    "num_heads": 12,
    "intermediate_size": 1536,
}  # MiniLM and models made from it
_ROBERTA = {"max_positions": 512, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
_XLM = {**_ROBERTA, "vocab_size": 250002}
_MPNET = {"max_positions": 512, "layer_norm_eps": 1e-5}
_ELECTRA: dict[str, Any] = {"num_heads": 12, "intermediate_size": 3072, "hidden_size": 768, "embedding_size": 0}
_ALBERT: dict[str, Any] = {"hidden_size": 768, "num_heads": 12, "intermediate_size": 3072}

_DEBERTA: dict[str, Any] = {"hidden_size": 768, "num_layers": 12, "num_heads": 12, "intermediate_size": 3072}

# Name without its owner: family, and the sizes that differ from the defaults of the family.
_SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-base-uncased": ("bert", {}),
    "bert-base-cased": ("bert", {"vocab_size": 28996}),
    "bert-large-uncased": ("bert", _LARGE),
    "bert-large-cased": ("bert", {**_LARGE, "vocab_size": 28996}),
    "bert-base-multilingual-cased": ("bert", {"vocab_size": 119547}),
    "all-MiniLM-L6-v2": ("bert", {**_MINI, "num_layers": 6}),
    "all-MiniLM-L12-v2": ("bert", _MINI),
    "bge-small-en-v1.5": ("bert", _MINI),
    "bge-base-en-v1.5": ("bert", {}),
    "bge-large-en-v1.5": ("bert", _LARGE),
    "e5-small-v2": ("bert", _MINI),
    "e5-base-v2": ("bert", {}),
    "e5-large-v2": ("bert", _LARGE),
    "gte-small": ("bert", _MINI),
    "gte-base": ("bert", {}),
    "gte-large": ("bert", _LARGE),
    "multilingual-e5-small": ("bert", {**_MINI, "vocab_size": 250037}),
    "roberta-base": ("roberta", _ROBERTA),
    "roberta-large": ("roberta", {**_ROBERTA, **_LARGE}),
    "distilroberta-base": ("roberta", {**_ROBERTA, "num_layers": 6}),
    "xlm-roberta-base": ("xlm-roberta", _XLM),
    "xlm-roberta-large": ("xlm-roberta", {**_XLM, **_LARGE}),
    "multilingual-e5-base": ("xlm-roberta", _XLM),
    "multilingual-e5-large": ("xlm-roberta", {**_XLM, **_LARGE}),
    "bge-m3": ("xlm-roberta", {**_XLM, **_LARGE, "max_positions": 8192}),
    "camembert-base": ("camembert", {**_ROBERTA, "vocab_size": 32005}),
    "distilbert-base-uncased": ("distilbert", {}),
    "distilbert-base-cased": ("distilbert", {"vocab_size": 28996}),
    "distilbert-base-multilingual-cased": ("distilbert", {"vocab_size": 119547}),
    "electra-small-discriminator": ("electra", {}),
    "electra-base-discriminator": ("electra", _ELECTRA),
    "electra-large-discriminator": ("electra", {**_ELECTRA, **_LARGE}),
    "albert-base-v2": ("albert", _ALBERT),
    "albert-large-v2": ("albert", {**_ALBERT, **_LARGE}),
    "mpnet-base": ("mpnet", _MPNET),
    "all-mpnet-base-v2": ("mpnet", _MPNET),
    "multi-qa-mpnet-base-dot-v1": ("mpnet", _MPNET),
    "deberta-v3-xsmall": ("deberta-v2", {**_DEBERTA, "hidden_size": 384, "num_heads": 6, "intermediate_size": 1536}),
    "deberta-v3-small": ("deberta-v2", {**_DEBERTA, "num_layers": 6}),
    "deberta-v3-base": ("deberta-v2", _DEBERTA),
    "deberta-v3-large": ("deberta-v2", _LARGE),
    "mdeberta-v3-base": ("deberta-v2", {**_DEBERTA, "vocab_size": 251000}),
    "ModernBERT-base": ("modernbert", {}),
    "ModernBERT-large": (
        "modernbert",
        {"hidden_size": 1024, "num_layers": 28, "num_heads": 16, "intermediate_size": 2624},
    ),
    "gte-modernbert-base": ("modernbert", {}),
    "modernbert-embed-base": ("modernbert", {}),
    "nomic-embed-text-v1": ("nomic_bert", {}),
    "nomic-embed-text-v1.5": ("nomic_bert", {}),
    "gte-multilingual-base": ("gte", {}),
}

_OWNERS = (
    "google-bert", "FacebookAI", "almanach", "distilbert", "google", "albert", "microsoft", "sentence-transformers",
    "BAAI", "intfloat", "thenlper", "answerdotai", "Alibaba-NLP", "alibaba-nlp-community", "nomic-ai",
)  # fmt: skip

# The owner of names that the Hub does not know without their owner, by how these names begin; the first match counts.
_OWNER_OF = {
    "all-": "sentence-transformers", "multi-qa-": "sentence-transformers", "bge-": "BAAI", "e5-": "intfloat",
    "multilingual-e5-": "intfloat", "gte-mod": "Alibaba-NLP", "gte-mul": "Alibaba-NLP", "gte-": "thenlper",
    "electra-": "google", "mpnet-": "microsoft", "deberta-": "microsoft", "mdeberta-": "microsoft",
    "ModernBERT-": "answerdotai", "modernbert-embed-": "nomic-ai", "nomic-": "nomic-ai",
}  # fmt: skip
_SIMILAR = 0.9  # one wrong letter in ten; models of other people often have names with a similarity of 0.8


def known_shape(checkpoint: str) -> EncoderShape | None:
    """Return the sizes of a well-known hub checkpoint, or None if it is not in the list.

    Args:
        checkpoint: a hub name, with or without its owner.
    """
    owner, _, name = checkpoint.rpartition("/")
    if owner not in ("", *_OWNERS) or name not in _SIZES:
        return None
    model_type, sizes = _SIZES[name]
    return replace(family(model_type).defaults, **sizes)


def similar_name(checkpoint: str) -> str | None:
    """Return the full name of the well-known checkpoint that is probably meant by a hub name.

    Args:
        checkpoint: a hub name, with or without its owner.

    Returns:
        None if the name is correct, or is not similar to a well-known one.
    """
    owner, _, name = checkpoint.rpartition("/")
    near = closest(name, tuple(_SIZES), _SIMILAR)
    if near is None:
        return None
    right = closest(owner, _OWNERS, _SIMILAR) if owner else _owner_of(near)
    if owner and right is None:
        return None
    full = f"{right}/{near}" if right else near
    return None if full == checkpoint else full


def _owner_of(name: str) -> str | None:
    return next((owner for start, owner in _OWNER_OF.items() if name.startswith(start)), None)
