"""Compare with the `peft` package on transformers' BERT with padding."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_bert import stream

from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.checkpoint import load_encoder, read_shape
from mbert_cli.encoder.shape import EncoderShape

LENGTHS = [3, 9, 1, 17, 2, 9, 4]


def compare(
    checkpoint: Path,
    config: str,
    options: dict[str, Any],
    build: Callable[[EncoderShape], Adapter],
    copy: Callable[[torch.nn.Module, Adapter], None],
    first_position: int = 0,
) -> float:
    """Return the largest difference between our packed hidden states and those of peft's padded, masked batch.

    Args:
        checkpoint: the encoder's folder.
        config: the name of peft's configuration class.
        options: options of the configuration class.
        build: builds our adapter.
        copy: copies the values of our adapter to peft's model.
        first_position: position of the first token of a sentence.
    """
    peft = pytest.importorskip("peft")
    from transformers import BertModel

    theirs = BertModel.from_pretrained(checkpoint)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # peft asks transformers for it
        wrapped = peft.get_peft_model(theirs, getattr(peft, config)(task_type="FEATURE_EXTRACTION", **options)).eval()
    shape = read_shape(checkpoint)
    encoder, _ = load_encoder(checkpoint, shape)
    adapter = build(shape)
    copy(wrapped, adapter)
    packed = stream(LENGTHS, None, vocab_size=shape.vocab_size)
    padded = torch.nn.utils.rnn.pad_sequence(packed.token_ids.split(LENGTHS), batch_first=True, padding_value=7)
    mask = torch.arange(padded.shape[1]) < torch.tensor(LENGTHS)[:, None]
    with torch.no_grad():
        expected = wrapped(input_ids=padded, attention_mask=mask.long()).last_hidden_state[mask]
        # peft's prefixes do not support token types; omit them everywhere.
        inputs = (packed.token_ids, torch.zeros_like(packed.token_types), packed.positions + first_position)
        ours = encoder.eval()(*inputs, packed.layout, [[adapter]])
        bare = encoder(*inputs, packed.layout)
    # Not to all tokens: LoRA on queries does not change a sentence of one token.
    assert (bare - expected).abs().amax(1).median() > 1e-2, "the adapter does nothing to most tokens"
    return (ours - expected).abs().max().item()
