"""DistilBERT (Sanh et al. 2019): BERT without token types and without a pooler."""

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import MODULES, without
from mbert_cli.encoder.shape import EncoderShape

FAMILY = Family(
    architecture="DistilBertModel",
    prefix="distilbert.",
    defaults=EncoderShape(family="distilbert", num_layers=6, type_vocab_size=0, has_pooler=False),
    sizes={
        "vocab_size": "vocab_size",
        "hidden_size": "dim",
        "num_layers": "n_layers",
        "num_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "max_positions": "max_position_embeddings",
        "activation": "activation",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
    },
    modules=without(MODULES, "type_embeddings", "pooler"),
    layer="transformer.layer.{}",
    layer_modules={
        "attention.qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        "attention.output": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "intermediate": "ffn.lin1",
        "output": "ffn.lin2",
        "output_norm": "output_layer_norm",
    },
    classifier=Classifier("pre_classifier", activation="relu"),
)
