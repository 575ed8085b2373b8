"""An encoder and its tokenizer in transformers, for the peers. This file runs in their environments."""

import inspect

from workload import MAX_LENGTH


def open_encoder(folder, **settings):
    """Return an encoder of any family, and a function from texts to its padded inputs.

    The encoder has no pooler, whose output is not used, and the attention that transformers chooses.

    Args:
        folder: the checkpoint.
        settings: more arguments of `from_pretrained`.
    """
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder, **settings), AutoTokenizer.from_pretrained(folder)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    reads_types = "token_type_ids" in inspect.signature(model.forward).parameters

    def inputs(texts):
        return tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=MAX_LENGTH,
            return_tensors="pt",
            return_token_type_ids=reads_types,
        )

    return model, inputs
