"""ALBERT (Lan et al. 2020): BERT with factorised embeddings and one set of weights for all layers."""

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import ABSOLUTE, MODULES, SIZES
from mbert_cli.encoder.shape import EncoderShape

FAMILY = Family(
    architecture="AlbertModel",
    prefix="albert.",
    defaults=EncoderShape(
        family="albert",
        vocab_size=30000,
        embedding_size=128,
        hidden_size=4096,
        num_heads=64,
        intermediate_size=16384,
        activation="gelu_new",
        dropout=0.0,
        attention_dropout=0.0,
        shares_layers=True,
        always_projects=True,
    ),
    sizes={**SIZES, "embedding_size": "embedding_size"},
    modules={**MODULES, "embedding_projection": "encoder.embedding_hidden_mapping_in", "pooler": "pooler"},
    layer="encoder.albert_layer_groups.0.albert_layers.0",
    layer_modules={
        "attention.qkv": ("attention.query", "attention.key", "attention.value"),
        "attention.output": "attention.dense",
        "attention_norm": "attention.LayerNorm",
        "intermediate": "ffn",
        "output": "ffn_output",
        "output_norm": "full_layer_layer_norm",
    },
    classifier=Classifier("albert.pooler"),
    only={**ABSOLUTE, "num_hidden_groups": 1, "inner_group_num": 1},
    written={**ABSOLUTE, "num_hidden_groups": 1, "inner_group_num": 1},
)
