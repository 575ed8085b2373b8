"""all-mpnet-base-v2 on real sentences and pairs, against transformers."""

import csv
from copy import deepcopy

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
def both(mpnet):
    """Our encoder, the model of transformers, and its tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    encoder, absent = load_encoder(mpnet, read_shape(mpnet))
    assert absent == []
    return encoder.eval(), AutoModel.from_pretrained(mpnet).eval(), AutoTokenizer.from_pretrained(mpnet)


def states_of(encoder, ids):
    """Return our hidden states of several texts, one after another."""
    lengths, stream = [len(each) for each in ids], torch.cat(ids)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return encoder(stream, torch.zeros_like(stream), positions, Layout(lengths)).split(lengths)


@torch.no_grad()
def differences(mpnet, both, texts, seconds=None):
    """Check that the ids are equal. Return the ids of each text, and the largest difference of its hidden states."""
    encoder, model, tokenizer = both
    tokens = Tokenizer(mpnet, LONGEST).encode(texts, seconds)
    ids = [torch.from_numpy(each).long() for each in np.split(tokens.ids, tokens.starts[1:-1])]
    order, found = sorted(range(len(ids)), key=lambda index: len(ids[index])), {}
    for start in range(0, len(ids), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        sides = [[side[row] for row in rows] for side in ([texts] if seconds is None else [texts, seconds])]
        inputs = tokenizer(*sides, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        real, theirs = inputs["attention_mask"].bool(), model(**inputs).last_hidden_state
        ours = []
        for kernels in ("fused", "torch"):
            with using(kernels):
                ours.append(states_of(encoder, [ids[row] for row in rows]))
        for row, tokens_of_row, mask, states, *own in zip(rows, inputs["input_ids"], real, theirs, *ours, strict=True):
            assert torch.equal(ids[row], tokens_of_row[mask])
            found[row] = max((each - states[mask]).abs().max().item() for each in own)
    return ids, [found[row] for row in range(len(ids))]


@torch.no_grad()
def check(both, ids, differences):
    """Check that the differences are at most 1e-4, apart from at most one text whose rounding errors grow.

    Then transformers differs from its own result in fp64 by about as much, and in fp64 both are equal.
    """
    grown = [each for each, difference in zip(ids, differences, strict=True) if difference > 1e-4]
    print(f"{len(grown)} of {len(ids)} texts differ by more than 1e-4, the others by at most", end=" ")
    print(f"{max(each for each in differences if each <= 1e-4):.1e}")
    assert len(grown) <= 1
    encoder, model = (deepcopy(each).double() for each in both[:2])
    for each in grown:
        exact = model(input_ids=each[None]).last_hidden_state[0]
        assert (states_of(encoder, [each])[0] - exact).abs().max() <= 1e-9
        theirs = both[1](input_ids=each[None]).last_hidden_state[0]
        print(f"{max(differences):.1e}; transformers differs from fp64 by {(theirs - exact).abs().max():.1e}")
        assert (theirs - exact).abs().max() > 2e-5


def test_real_sentences_have_the_hidden_states_of_transformers(mpnet, both, sentences):
    assert len(sentences) == COUNT
    check(both, *differences(mpnet, both, sentences))


def test_real_pairs_have_the_hidden_states_of_transformers(mpnet, both, pairs):
    assert len(pairs) == COUNT
    check(both, *differences(mpnet, both, *map(list, zip(*pairs, strict=True))))
