"""The code of a user of an exported model, which needs only onnxruntime and tokenizers."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def predict(folder, task, rows):
    """Return a task's probabilities or values for rows of texts, one text or two in each."""
    config = json.loads((Path(folder) / "config.json").read_text())
    found = config["tasks"][task]
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.enable_truncation(config["max_length"])
    tokenizer.enable_padding()
    inputs = []
    for side in found["sides"]:
        texts = [
            {"first": row[0], "second": row[-1], "whole": row[0] if len(row) == 1 else tuple(row)}[side] for row in rows
        ]
        encoded = tokenizer.encode_batch(texts)
        inputs += [[getattr(each, name) for each in encoded] for name in ("ids", "attention_mask", "type_ids")]
    session = onnxruntime.InferenceSession(Path(folder) / found["file"])
    return session.run(None, dict(zip(found["inputs"], map(np.array, inputs), strict=True)))[0]
