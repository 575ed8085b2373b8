"""ModernBERT (Warner et al. 2024): rotary positions, local attention in most layers, LayerNorms first, no biases."""

from typing import Any

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import SIZES, rotary_theta, without
from mbert_cli.encoder.shape import EncoderShape

_GLOBAL_THETA, _LOCAL_THETA, _GLOBAL_EVERY = 160_000.0, 10_000.0, 3


def _current(config: dict[str, Any]) -> dict[str, Any]:
    """Convert the list of the kinds of layers, which later versions write, to the keys of the published files."""
    every = config.get("global_attn_every_n_layers", _GLOBAL_EVERY)
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and kinds:
        every = next((index for index, kind in enumerate(kinds[1:], 1) if kind == "full_attention"), len(kinds))
        usual = ["sliding_attention" if index % every else "full_attention" for index in range(len(kinds))]
        if kinds != usual:
            raise ValueError("layer_types must be 'full_attention' in every n-th layer, from the first, and else local")
    thetas = {
        "global_rope_theta": rotary_theta(config, config.get("global_rope_theta", _GLOBAL_THETA), "full_attention"),
        "local_rope_theta": rotary_theta(config, config.get("local_rope_theta", _LOCAL_THETA), "sliding_attention"),
    }
    return {**config, **thetas, "global_attn_every_n_layers": every}


FAMILY = Family(
    architecture="ModernBertModel",
    prefix="model.",
    defaults=EncoderShape(
        family="modernbert",
        vocab_size=50368,
        num_layers=22,
        intermediate_size=1152,
        max_positions=8192,
        type_vocab_size=0,
        layer_norm_eps=1e-5,
        dropout=0.0,
        attention_dropout=0.0,
        has_pooler=False,
        position_table=False,
        norm_first=True,
        norm_bias=False,
        attention_bias=False,
        intermediate_bias=False,
        output_bias=False,
        gated=True,
        rotary_theta=_GLOBAL_THETA,
        local_rotary_theta=_LOCAL_THETA,
        local_window=128,
        global_every=_GLOBAL_EVERY,
    ),
    sizes={
        **without(SIZES, "type_vocab_size"),
        "activation": "hidden_activation",
        "layer_norm_eps": "norm_eps",
        "dropout": "mlp_dropout",
        "attention_dropout": "attention_dropout",
        "norm_bias": "norm_bias",
        "attention_bias": "attention_bias",
        "intermediate_bias": "mlp_bias",
        "output_bias": "mlp_bias",
        "rotary_theta": "global_rope_theta",
        "local_rotary_theta": "local_rope_theta",
        "local_window": "local_attention",
        "global_every": "global_attn_every_n_layers",
    },
    modules={
        "word_embeddings": "embeddings.tok_embeddings",
        "embedding_norm": "embeddings.norm",
    },
    layer="layers.{}",
    layer_modules={
        "attention.qkv": "attn.Wqkv",
        "attention.output": "attn.Wo",
        "attention_norm": "mlp_norm",
        "intermediate": "mlp.Wi",
        "output": "mlp.Wo",
    },
    classifier=Classifier(
        "head.dense",
        activation="gelu",
        activation_key="classifier_activation",
        pooling_key="classifier_pooling",
        norm="head.norm",
        written={"classifier_bias": True},
    ),
    next_norm=("attn_norm", "final_norm"),
    # Without them, transformers assumes the ids of the published vocabulary.
    written=dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")),
    current=_current,
)
