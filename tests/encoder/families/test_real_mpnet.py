"""all-mpnet-base-v2 on real sentences and pairs, against transformers."""

import csv

import numpy as np
import pytest
import torch

from mbert_cli.batch import Layout
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.checkpoint import load_encoder, read_shape
from mbert_cli.encoder.kernels import using

pytestmark = [pytest.mark.real_data, pytest.mark.real_weights]

COUNT, BATCH_SIZE = 1000, 50
LONGEST = 128  # tokens
SOURCES = {"quora-dev": "sentence1", "sts-dev": "sentence1", "ids-sst-dev": "sentence"}


def rows_of(folder, name):
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def sentences(course_data):
    """Real sentences of all files, in turn."""
    columns = [[row[column] for row in rows_of(course_data, name)] for name, column in SOURCES.items()]
    return [text for texts in zip(*columns, strict=False) for text in texts if text and text.strip()][:COUNT]


@pytest.fixture(scope="module")
def pairs(course_data):
    """Real pairs of both files, in turn."""
    both = (rows_of(course_data, name) for name in ("quora-dev", "sts-dev"))
    rows = [row for rows in zip(*both, strict=False) for row in rows]
    return [(row["sentence1"], row["sentence2"]) for row in rows if row["sentence1"] and row["sentence2"]][:COUNT]


@pytest.fixture(scope="module")
def encoder(mpnet):
    encoder, absent = load_encoder(mpnet, read_shape(mpnet))
    assert absent == []
    return encoder.eval()


@pytest.fixture(scope="module")
def reference(mpnet):
    """The ids and hidden states of transformers for a batch of texts, those of each text separately."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(mpnet), AutoModel.from_pretrained(mpnet).eval()

    def of(*texts):
        inputs = tokenizer(*map(list, texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.no_grad():
            states = model(**inputs).last_hidden_state
        real = inputs["attention_mask"].bool()
        return [(ids[mask], h[mask]) for ids, h, mask in zip(inputs["input_ids"], states, real, strict=True)]

    return of


def largest_difference(mpnet, encoder, reference, texts, seconds=None):
    """Check that the ids are equal. Return the largest difference of a hidden state, with each implementation."""
    assert len(texts) == COUNT
    tokens = Tokenizer(mpnet, LONGEST).encode(texts, seconds)
    ids = [torch.from_numpy(each).long() for each in np.split(tokens.ids, tokens.starts[1:-1])]
    order = sorted(range(COUNT), key=lambda index: len(ids[index]))
    largest = dict.fromkeys(("fused", "torch"), 0.0)
    for start in range(0, COUNT, BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        sides = [texts] if seconds is None else [texts, seconds]
        expected = reference(*([side[row] for row in rows] for side in sides))
        assert all(torch.equal(ids[row], theirs) for row, (theirs, _) in zip(rows, expected, strict=True))
        lengths = [len(ids[row]) for row in rows]
        positions = torch.cat([torch.arange(length) for length in lengths])
        stream = torch.cat([ids[row] for row in rows])
        theirs = torch.cat([states for _, states in expected])
        for kernels in largest:
            with torch.no_grad(), using(kernels):
                ours = encoder(stream, torch.zeros_like(stream), positions, Layout(lengths))
            largest[kernels] = max(largest[kernels], (ours - theirs).abs().max().item())
    print(f"largest differences: {largest}")
    return max(largest.values())


def test_real_sentences_have_the_hidden_states_of_transformers(mpnet, encoder, reference, sentences):
    assert largest_difference(mpnet, encoder, reference, sentences) <= 1e-4


def test_real_pairs_have_the_hidden_states_of_transformers(mpnet, encoder, reference, pairs):
    first, second = map(list, zip(*pairs, strict=True))
    assert largest_difference(mpnet, encoder, reference, first, second) <= 1e-4
