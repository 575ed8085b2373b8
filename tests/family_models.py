"""Random encoders of every family, made by transformers."""

import torch
import transformers
from torch import nn

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 65}
ODD = {**SIZES, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3}
ROBERTA = {"max_position_embeddings": 34, "type_vocab_size": 1, "pad_token_id": 1}
DISTILBERT = {"vocab_size": 50, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 65, "max_position_embeddings": 32}
ROTARY = {"vocab_size": 50, "max_position_embeddings": 32, "pad_token_id": 0}
MODERN = {**SIZES, **ROTARY, "num_hidden_layers": 4, "local_attention": 8}
DEBERTA = {
    "max_position_embeddings": 32,
    "relative_attention": True,
    "position_buckets": 6,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
}
MPNET = {"max_position_embeddings": 34, "layer_norm_eps": 1e-5}

CONFIGS = {
    "bert": ("Bert", {**SIZES, "max_position_embeddings": 32}),
    "bert, odd": ("Bert", {**ODD, "max_position_embeddings": 32, "hidden_act": "relu"}),
    "roberta": ("Roberta", {**SIZES, **ROBERTA}),
    "roberta, two types": ("Roberta", {**ODD, **ROBERTA, "type_vocab_size": 2, "pad_token_id": 0}),
    "xlm-roberta": ("XLMRoberta", {**SIZES, **ROBERTA}),
    "camembert": ("Camembert", {**ODD, **ROBERTA}),
    "distilbert": ("DistilBert", DISTILBERT),
    "distilbert, odd": ("DistilBert", {**DISTILBERT, "dim": 12, "n_heads": 3, "n_layers": 1, "activation": "relu"}),
    "electra": ("Electra", {**SIZES, "embedding_size": 8, "max_position_embeddings": 32}),
    "electra, one size": ("Electra", {**ODD, "embedding_size": 12, "max_position_embeddings": 32}),
    "ernie": ("Ernie", {**SIZES, "max_position_embeddings": 32}),
    "ernie, task types": ("Ernie", {**ODD, "max_position_embeddings": 32, "use_task_id": True}),
    "albert": ("Albert", {**SIZES, "embedding_size": 16, "max_position_embeddings": 32}),
    "albert, one size": ("Albert", {**ODD, "embedding_size": 12, "max_position_embeddings": 32, "hidden_act": "relu"}),
    "mpnet": ("MPNet", {**SIZES, **MPNET}),
    "mpnet, wide heads": ("MPNet", {**SIZES, **MPNET, "hidden_size": 64}),
    "bert, wide heads": ("Bert", {**SIZES, "hidden_size": 64, "max_position_embeddings": 32}),
    "mpnet, odd": ("MPNet", {**ODD, **MPNET, "hidden_act": "gelu_new"}),
    "nomic_bert": ("NomicBert", {**SIZES, **ROTARY}),
    "nomic_bert, wide heads": ("NomicBert", {**SIZES, **ROTARY, "hidden_size": 128, "intermediate_size": 64}),
    "nomic_bert, odd": (
        "NomicBert",
        {**ODD, **ROTARY, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
    ),
    "gte": ("Gte", {**SIZES, **ROTARY}),
    "gte, wide heads": ("Gte", {**SIZES, **ROTARY, "hidden_size": 128, "intermediate_size": 64}),
    "gte, odd": ("Gte", {**ODD, **ROTARY, "type_vocab_size": 2, "hidden_act": "relu"}),
    "gte, no types": ("Gte", {**ODD, **ROTARY, "type_vocab_size": 0}),
    "modernbert": ("ModernBert", MODERN),
    "modernbert, wide heads": ("ModernBert", {**MODERN, "hidden_size": 128, "intermediate_size": 64}),
    "modernbert, biases": (
        "ModernBert",
        {**MODERN, "norm_bias": True, "attention_bias": True, "mlp_bias": True, "global_attn_every_n_layers": 2},
    ),
    "modernbert, odd": ("ModernBert", {**MODERN, **ODD, "hidden_activation": "silu"}),
    "deberta-v2": ("DebertaV2", {**SIZES, **DEBERTA}),
    "deberta-v2, wide heads": ("DebertaV2", {**SIZES, **DEBERTA, "hidden_size": 64, "position_buckets": 256}),
    "deberta-v2, odd": ("DebertaV2", {**ODD, **DEBERTA, "hidden_act": "gelu_new", "max_relative_positions": 20}),
}
"""For each case the name of the family in transformers, and the values of its configuration."""

CASE_OF_FAMILY = {case.partition(",")[0]: case for case in reversed(CONFIGS)}


def reference_encoder(case: str, **changes: object) -> nn.Module:
    """Return an encoder of transformers in evaluation mode; all of its values are random."""
    name, values = CONFIGS[case]
    config = getattr(transformers, f"{name}Config")(**{**values, **changes})
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # States must not grow from layer to layer: rounding errors would grow with them.
            parameter.add_(torch.randn_like(parameter) * min(0.2, parameter.shape[-1] ** -0.5))
    return model.eval()


def reads_types(case: str) -> bool:
    """Whether the encoder distinguishes the two sentences of a pair."""
    name, values = CONFIGS[case]
    return (
        name not in ("DistilBert", "MPNet", "ModernBert", "DebertaV2")
        and values.get("type_vocab_size", 1 if name == "Gte" else 2) > 1
    )
