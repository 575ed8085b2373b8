"""Every kind of tokenizer against transformers."""

import json

import numpy as np
import pytest
from tokenizer_kinds import KINDS, NAMES, unicode_texts
from transformers import AutoTokenizer

from mbert_cli.data.tokenizer import Tokenizer

TEXTS, SECONDS = unicode_texts(1000), unicode_texts(1000, seed=1)


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    return KINDS[request.param](tmp_path / "checkpoint")


def split(tokens):
    return [ids.tolist() for ids in np.split(tokens.ids, tokens.starts[1:-1])]


@pytest.mark.parametrize("max_length", [8, 512])
def test_ids_equal_those_of_transformers(folder, max_length):
    reference = AutoTokenizer.from_pretrained(folder)
    expected = reference(TEXTS, truncation=True, max_length=max_length)["input_ids"]
    assert split(Tokenizer(folder, max_length).encode(TEXTS)) == expected


@pytest.mark.parametrize("max_length", [9, 512])
def test_ids_and_types_of_pairs_equal_those_of_transformers(folder, max_length):
    reference = AutoTokenizer.from_pretrained(folder)
    expected = reference(TEXTS, SECONDS, truncation=True, max_length=max_length, return_token_type_ids=True)
    tokens = Tokenizer(folder, max_length).encode(TEXTS, SECONDS)
    assert split(tokens) == expected["input_ids"]
    types = [own.tolist() for own in np.split(tokens.types, tokens.starts[1:-1])]
    assert types == expected["token_type_ids"]


def test_the_saved_tokenizer_gives_the_same_ids_here_and_in_transformers(folder, tmp_path):
    saved = tmp_path / "saved"
    saved.mkdir()
    tokenizer = Tokenizer(folder, 32)
    tokenizer.save(saved, has_types=False)
    expected = split(tokenizer.encode(TEXTS))
    assert split(Tokenizer(saved, 32).encode(TEXTS)) == expected
    (saved / "config.json").write_text((folder / "config.json").read_text())
    reference = AutoTokenizer.from_pretrained(saved)
    assert reference(TEXTS, truncation=True)["input_ids"] == expected
    assert reference.model_input_names == ["input_ids", "attention_mask"]
    assert reference.mask_token_id == tokenizer.mask_id


def test_the_tokens_around_texts_and_the_mask_have_the_checkpoints_own_names(folder):
    tokenizer, reference = Tokenizer(folder, 32), AutoTokenizer.from_pretrained(folder)
    assert tokenizer.mask_id == reference.mask_token_id
    assert tokenizer.frame_ids == sorted({reference.cls_token_id, reference.sep_token_id})


def test_special_tokens_that_nobody_names_are_found_by_their_usual_names(tmp_path):
    folder = KINDS["byte-level BPE"](tmp_path)
    expected = Tokenizer(folder, 32).mask_id
    (folder / "tokenizer_config.json").unlink()
    assert Tokenizer(folder, 32).mask_id == expected is not None


def test_special_tokens_may_be_named_as_objects(tmp_path):
    folder = KINDS["byte-level BPE"](tmp_path)
    named = {**NAMES, "mask_token": {"content": "<unk>", "lstrip": True}}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    assert Tokenizer(folder, 32).mask_id == 3
