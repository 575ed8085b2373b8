"""DeBERTaV3 (He et al. 2023) and those DeBERTaV2 that have no convolution: BERT with disentangled attention."""

from typing import Any

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import LAYER, LAYER_MODULES, MODULES, SIZES, without
from mbert_cli.encoder.shape import EncoderShape

_DISENTANGLED = {
    "relative_attention": True,
    "position_biased_input": False,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "pos_att_type": ["p2c", "c2p"],
}

# What transformers assumes for keys that are missing: attention that is not disentangled.
_MISSING = {
    "relative_attention": False,
    "position_biased_input": True,
    "share_att_key": False,
    "norm_rel_ebd": "none",
    "pos_att_type": [],
    "position_buckets": -1,
    "max_relative_positions": -1,
    "max_position_embeddings": 512,
}


def _current(config: dict[str, Any]) -> dict[str, Any]:
    config = {**_MISSING, **config}
    kinds = config["pos_att_type"] or []
    kinds = kinds.split("|") if isinstance(kinds, str) else kinds
    config["pos_att_type"] = sorted(map(str, kinds), reverse=True) if isinstance(kinds, list) else kinds
    if config["max_relative_positions"] == -1:
        config["max_relative_positions"] = config["max_position_embeddings"]
    hidden = config.get("hidden_size")
    if config.get("embedding_size", hidden) != hidden:
        raise ValueError(f"embedding_size is {config['embedding_size']!r}, but only the hidden size is supported")
    return config


FAMILY = Family(
    architecture="DebertaV2Model",
    prefix="deberta.",
    defaults=EncoderShape(
        family="deberta-v2",
        vocab_size=128100,
        hidden_size=1536,
        num_layers=24,
        num_heads=24,
        intermediate_size=6144,
        type_vocab_size=0,
        layer_norm_eps=1e-7,
        has_pooler=False,
        position_table=False,
        position_buckets=256,
        max_distance=512,
    ),
    sizes={
        **without(SIZES, "type_vocab_size"),
        "position_buckets": "position_buckets",
        "max_distance": "max_relative_positions",
    },
    modules={
        **without(MODULES, "position_embeddings", "type_embeddings", "pooler"),
        "positions.distances.table": "encoder.rel_embeddings",
        "positions.distances.norm": "encoder.LayerNorm",
    },
    layer=LAYER,
    layer_modules={
        **LAYER_MODULES,
        "attention.qkv": ("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"),
    },
    classifier=Classifier("pooler.dense", activation="gelu", activation_key="pooler_hidden_act"),
    only={**_DISENTANGLED, "type_vocab_size": 0, "conv_kernel_size": 0},
    written={**_DISENTANGLED, "type_vocab_size": 0},
    current=_current,
)
