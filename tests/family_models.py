"""Random encoders of every family, made by transformers."""

import torch
import transformers
from torch import nn

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 65}
ODD = {**SIZES, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3}
ROBERTA = {"max_position_embeddings": 34, "type_vocab_size": 1, "pad_token_id": 1}
DISTILBERT = {"vocab_size": 50, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 65, "max_position_embeddings": 32}
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
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def reads_types(case: str) -> bool:
    """Whether the encoder distinguishes the two sentences of a pair."""
    name, values = CONFIGS[case]
    return name not in ("DistilBert", "MPNet") and values.get("type_vocab_size", 2) > 1
