"""Windows of long texts, against those of transformers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_kinds import KINDS, unicode_texts
from transformers import AutoTokenizer

from mbert_cli.data.text_windows import Windows
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.recipe.long_texts import WindowsSection

LONGEST = 24
TEXTS = [" ".join(unicode_texts(count, seed=count)) for count in (1, 2, 5, 8, 30)]
ALL = 1000  # windows: more than any of these texts has


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    return KINDS[request.param](tmp_path / "checkpoint")


def windows_of(tokens):
    """Return the ids and the types of each window of each text."""
    windows = tokens.windows_of(np.arange(len(tokens)))
    ends = np.cumsum(windows.lengths)[:-1]
    pairs = list(zip(np.split(tokens.ids, ends), np.split(tokens.types, ends), strict=True))
    of_texts = iter([(ids.tolist(), types.tolist()) for ids, types in pairs])
    return [[next(of_texts) for _ in range(count)] for count in windows.counts]


def reference_windows(tokenizer, text, second=None, **options):
    found = tokenizer(text, second, return_overflowing_tokens=True, return_token_type_ids=True, **options)
    return list(zip(found["input_ids"], found["token_type_ids"], strict=True))


@pytest.mark.parametrize("stride", [0, 5, 12])
def test_windows_of_a_text_equal_those_of_transformers(folder, stride):
    reference = AutoTokenizer.from_pretrained(folder)
    tokens = Tokenizer(folder, LONGEST).encode(TEXTS, windows=WindowsSection(stride=stride, most=ALL))
    options = {"truncation": True, "max_length": LONGEST, "stride": stride}
    assert windows_of(tokens) == [reference_windows(reference, text, **options) for text in TEXTS]
    assert max(tokens.windows.counts) > 2
    assert tokens.cut == []


def test_the_longer_text_of_a_pair_is_divided_and_the_other_one_is_in_every_window(folder):
    reference = AutoTokenizer.from_pretrained(folder)
    tokenizer, section = Tokenizer(folder, LONGEST), WindowsSection(stride=3, most=ALL)
    short = ["dog", "the cat"]
    for texts, seconds, side in ((TEXTS, short, "only_first"), (short, TEXTS, "only_second")):
        pairs = [(one, two) for one in texts for two in seconds]
        tokens = tokenizer.encode(*map(list, zip(*pairs, strict=True)), windows=section)
        options = {"truncation": side, "max_length": LONGEST, "stride": 3}
        for windows, pair in zip(windows_of(tokens), pairs, strict=True):
            expected = reference_windows(reference, *pair, **options)
            assert [ids for ids, _ in windows] == [ids for ids, _ in expected]
            # RoBERTa's processor in the library gives the texts of all windows but the first another type.
            assert windows[0] == expected[0]
        assert tokens.cut == []


def test_the_shorter_text_of_a_pair_has_at_most_half_of_a_window(tiny_checkpoint):
    # 24 tokens hold [CLS], two [SEP] and 21 others: 10 of the second text, and windows of 11 that share 5, not 8.
    tokens = Tokenizer(tiny_checkpoint, 24).encode(
        ["cat " * 23, "dog"], ["dog " * 12, "cat"], windows=WindowsSection(stride=8)
    )
    cat, dog = (Tokenizer(tiny_checkpoint, 8).encode([word]).ids[1] for word in ("cat", "dog"))
    window = [2, *[cat] * 11, 3, *[dog] * 10, 3], [*[0] * 13, *[1] * 11]
    assert windows_of(tokens)[0] == [window] * 3
    assert (tokens.windows.counts.tolist(), tokens.cut) == ([3, 1], [0])


@given(words=st.integers(0, 80), stride=st.integers(0, 8), most=st.integers(1, 9))
def test_windows_together_are_the_whole_text_unless_it_needs_too_many(words, stride, most, tiny_checkpoint):
    text = " ".join(["the", "dog", "cat", "red", "book"][index * index % 5] for index in range(words))
    tokens = Tokenizer(tiny_checkpoint, 16).encode([text], windows=WindowsSection(stride=stride, most=most))
    whole = Tokenizer(tiny_checkpoint, 200).encode([text]).ids[1:-1]
    first, *others = [ids[1:-1] for ids, _ in windows_of(tokens)[0]]
    union = first + [id_ for own in others for id_ in own[stride:]]
    assert union == whole[: len(union)].tolist()
    assert (tokens.cut == [0]) == (len(union) < len(whole))
    assert len(others) < most
    if tokens.cut:
        assert len(others) == most - 1


def test_texts_that_fit_are_read_as_without_windows(tiny_checkpoint):
    tokenizer = Tokenizer(tiny_checkpoint, 48)
    texts = ["the dog", "", "cat " * 46]
    plain, read = tokenizer.encode(texts), tokenizer.encode(texts, windows=WindowsSection())
    assert (plain.ids.tolist(), plain.starts.tolist()) == (read.ids.tolist(), read.starts.tolist())
    assert read.windows is None


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_a_text_with_one_window_at_most_is_cut(tiny_checkpoint, pool):
    section = WindowsSection(stride=2, pool=pool, most=16 if pool == "first" else 1)
    texts, tokenizer = ["cat " * 30, "dog"], Tokenizer(tiny_checkpoint, 16)
    plain, read = tokenizer.encode(texts), tokenizer.encode(texts, windows=section)
    assert (plain.ids.tolist(), plain.cut) == (read.ids.tolist(), read.cut)
    assert read.windows is None


def test_windows_of_some_texts():
    windows = Windows.of(np.array([3, 9, 4]), {1: [5, 4]})
    assert (windows.lengths.tolist(), windows.counts.tolist()) == ([3, 5, 4, 4], [1, 2, 1])
    rows = np.array([2, 1, 1])
    assert windows.places(rows).tolist() == [3, 1, 2, 1, 2]
    assert windows.take(rows).lengths.tolist() == [4, 5, 4, 5, 4]
    assert windows.take(rows).joined(windows).counts.tolist() == [1, 2, 2, 1, 2, 1]
