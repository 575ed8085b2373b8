"""A tiny checkpoint, three tiny tasks and their recipe, which train in seconds."""

import json
import random
from pathlib import Path

from word_salad import SPECIAL, TINY_SIZES, WORDS, sentences


def write_checkpoint(folder: Path, **sizes: int) -> Path:
    """Write a BERT of 16 features and 2 layers with random weights, as transformers writes it, with a tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    model = BertModel(BertConfig(**{**TINY_SIZES, **sizes}))
    # Larger than BERT's own initial values, so that the encoder changes its outputs visibly.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_files(folder: Path) -> Path:
    """Write the files of three small tasks: mood (three named classes), same (0/1 pairs), near (0-5 pairs)."""
    rng = random.Random(1)
    for split, sizes in {"train": (20, 30, 12), "dev": (9, 11, 10)}.items():
        seed = {"train": 2, "dev": 3}[split]
        mood = [f"{i}\t{s}\t{rng.choice(['low', 'mid', 'high'])}" for i, s in enumerate(sentences(sizes[0], seed))]
        pairs = zip(sentences(sizes[1], seed + 10), sentences(sizes[1], seed + 20), strict=True)
        same = [f"{i}\t{a}\t{b}\t{rng.choice(['0.0', '1.0'])}" for i, (a, b) in enumerate(pairs)]
        pairs = zip(sentences(sizes[2], seed + 30), sentences(sizes[2], seed + 40), strict=True)
        near = [f"{i}\t{a}\t{b}\t{rng.uniform(0, 5):.1f}" for i, (a, b) in enumerate(pairs)]
        for name, header, rows in (
            ("mood", "id\ttext\tmood", mood),
            ("same", "id\tone\ttwo\tsame", same),
            ("near", "id\tone\ttwo\tnear", near),
        ):
            (folder / f"{name}-{split}.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def write_recipe(path: Path, checkpoint: Path, files: Path) -> Path:
    """Write a recipe for the three tasks on the checkpoint, with two epochs and large learning rates."""
    columns = {"mood": "text", "same": ["one", "two"], "near": ["one", "two"]}
    heads = {
        "mood": {"kind": "classification", "labels": ["low", "mid", "high"]},
        "same": {"kind": "pair_classification"},
        "near": {"kind": "cosine_similarity"},
    }
    recipe = {
        "encoder": {"checkpoint": str(checkpoint)},
        "adapters": [{"kind": "low_rank", "rank": 4}, {"kind": "top"}],
        "pooling": {"kind": "mean"},
        "tasks": {
            name: {
                "train": str(files / f"{name}-train.tsv"),
                "dev": str(files / f"{name}-dev.tsv"),
                "text": columns[name],
                "label": name,
                "head": heads[name],
            }
            for name in columns
        },
        "curriculum": {"kind": "hybrid"},
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "max_length": 16},
    }
    path.write_text(json.dumps(recipe, indent=1), encoding="utf-8")  # JSON is YAML
    return path
