import contextlib
import json
import shutil

import numpy as np
import pytest
from transformers import AutoTokenizer

from mbert_cli.data.tokenizer import Tokenizer, Tokens
from mbert_cli.errors import CheckpointError

TEXTS = [
    "the dog",
    "a",
    "The CAT, is fine?",
    "unheard words zzz",
    "",
    "   ",
    " ".join(["red book"] * 30),
    "dog\tcat\nbird",
    "é ü 日本 \u2028 x",
    "the" * 200,
]


def texts_of(tokens: Tokens) -> list[list[int]]:
    return [ids.tolist() for ids in np.split(tokens.ids, tokens.starts[1:-1])]


@pytest.mark.parametrize("max_length", [3, 5, 16, 48])
def test_ids_equal_those_of_transformers(tiny_checkpoint, max_length):
    reference = AutoTokenizer.from_pretrained(tiny_checkpoint)
    expected = reference(TEXTS, truncation=True, max_length=max_length)["input_ids"]
    tokens = Tokenizer(tiny_checkpoint, max_length).encode(TEXTS)
    assert texts_of(tokens) == expected
    assert tokens.lengths.tolist() == [len(ids) for ids in expected]
    assert len(tokens) == len(TEXTS)
    assert not tokens.types.any()


@pytest.mark.parametrize("max_length", [3, 5, 16, 62, 100])
def test_truncated_texts_are_listed(tiny_checkpoint, max_length):
    reference = AutoTokenizer.from_pretrained(tiny_checkpoint)
    whole = reference(TEXTS)["input_ids"]
    tokens = Tokenizer(tiny_checkpoint, max_length).encode(TEXTS)
    assert tokens.cut == [index for index, ids in enumerate(whole) if len(ids) > max_length]


@pytest.mark.real_weights
@pytest.mark.parametrize("max_length", [8, 64, 512])
def test_ids_of_a_real_vocabulary_equal_those_of_transformers(minilm, max_length):
    texts = [
        *TEXTS,
        "[CLS] the [SEP] dog [MASK]",
        "Don't panic: it's 3.14 naïve façades, isn't it?",
        "antidisestablishmentarianism 🙂 ﬁne",
        "x" * 5000,
    ]
    expected = AutoTokenizer.from_pretrained(minilm)(texts, truncation=True, max_length=max_length)["input_ids"]
    assert texts_of(Tokenizer(minilm, max_length).encode(texts)) == expected


def test_padding_and_truncation_in_a_tokenizer_file_are_ignored(tiny_checkpoint, tmp_path):
    from tokenizers import Tokenizer as FastTokenizer

    padded = FastTokenizer.from_file(str(tiny_checkpoint / "tokenizer.json"))
    padded.enable_padding(length=20)
    padded.enable_truncation(4)
    padded.save(str(tmp_path / "tokenizer.json"))
    one, two = Tokenizer(tmp_path, 48).encode(TEXTS), Tokenizer(tiny_checkpoint, 48).encode(TEXTS)
    assert texts_of(one) == texts_of(two)


def test_no_texts_have_no_tokens(tiny_checkpoint):
    tokens = Tokenizer(tiny_checkpoint, 8).encode([])
    assert (len(tokens), tokens.ids.size, tokens.starts.tolist(), tokens.cut) == (0, 0, [0], [])


@pytest.fixture
def vocabulary(tiny_checkpoint, tmp_path):
    """A checkpoint from before 2020: with vocab.txt and without tokenizer.json."""
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copy(tiny_checkpoint / "config.json", folder)
    model = json.loads((tiny_checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    words = sorted(model["vocab"], key=model["vocab"].get)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return folder


def test_a_folder_with_only_vocab_txt_can_be_read(tiny_checkpoint, vocabulary):
    found = Tokenizer(vocabulary, 16)
    assert texts_of(found.encode(TEXTS)) == texts_of(Tokenizer(tiny_checkpoint, 16).encode(TEXTS))
    assert found.vocab_size == Tokenizer(tiny_checkpoint, 16).vocab_size


def test_a_model_of_sentencepiece_without_the_package_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("mbert_cli.data.tokenizer.find_spec", lambda name: None)
    (tmp_path / "spm.model").touch()
    with pytest.raises(CheckpointError, match=r"spm\.model: is read with sentencepiece; pip install 'mbert-cli\[sen"):
        Tokenizer(tmp_path, 16)


def test_a_damaged_vocab_txt_is_refused(vocabulary):
    (vocabulary / "vocab.txt").write_bytes(b"[PAD]\n\xff\xfe\n")
    with pytest.raises(CheckpointError, match="vocab"):
        Tokenizer(vocabulary, 16)


def test_a_vocabulary_without_the_unknown_word_is_refused(vocabulary):
    words = (vocabulary / "vocab.txt").read_text(encoding="utf-8")
    (vocabulary / "vocab.txt").write_text(words.replace("[UNK]", "[UKN]"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"vocab\.txt: cannot encode an unknown word \(.*\[UNK\]"):
        Tokenizer(vocabulary, 16)


def test_a_template_with_unknown_tokens_is_refused(tiny_checkpoint, tmp_path):
    content = json.loads((tiny_checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    content["post_processor"]["special_tokens"] = {}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: "):
        Tokenizer(tmp_path, 16)


def test_code_in_a_checkpoint_is_never_run(vocabulary):
    code = "from pathlib import Path\n\nPath(__file__).with_name('ran').touch()\n\nclass Own: ...\n"
    (vocabulary / "own.py").write_text(code, encoding="utf-8")
    config = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    (vocabulary / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with contextlib.suppress(CheckpointError):
        Tokenizer(vocabulary, 16)
    assert not (vocabulary / "ran").exists()


def test_a_saved_tokenizer_reads_back_the_same(vocabulary, tmp_path):
    tokenizer = Tokenizer(vocabulary, 16)
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    assert texts_of(Tokenizer(tmp_path / "saved", 16).encode(TEXTS)) == texts_of(tokenizer.encode(TEXTS))


def test_the_size_of_a_vocabulary_with_gaps_is_its_largest_id_plus_one(tiny_checkpoint, tmp_path):
    content = json.loads((tiny_checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"]["cat"] = 5000
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert Tokenizer(tmp_path, 16).vocab_size == 5001


def test_a_folder_without_a_vocabulary_is_refused(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"contains no tokenizer: neither tokenizer\.json nor vocab\.txt, vocab\.json, "
    ):
        Tokenizer(tmp_path, 16)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"model": 3}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_tokenizer_file_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be read"):
        Tokenizer(tmp_path, 16)


SECONDS = ["red dog", "", "the cat " * 20, "a", "zzz", "the", "one book", " ".join(["the dog"] * 25), "x y", "dog"]


@pytest.mark.parametrize("max_length", [5, 16, 24, 48])
def test_two_texts_in_one_sequence_equal_those_of_transformers(tiny_checkpoint, max_length):
    reference = AutoTokenizer.from_pretrained(tiny_checkpoint)
    expected = reference(TEXTS, SECONDS, truncation=True, max_length=max_length, return_token_type_ids=True)
    tokens = Tokenizer(tiny_checkpoint, max_length).encode(TEXTS, SECONDS)
    assert texts_of(tokens) == expected["input_ids"]
    assert [types.tolist() for types in np.split(tokens.types, tokens.starts[1:-1])] == expected["token_type_ids"]
    whole = reference(TEXTS, SECONDS)["input_ids"]
    assert tokens.cut == [index for index, ids in enumerate(whole) if len(ids) > max_length]


@pytest.mark.parametrize("lowercase", [True, False])
def test_transformers_returns_the_same_tokens_and_truncates_at_the_same_length(tiny_checkpoint, tmp_path, lowercase):
    content = json.loads((tiny_checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    content["normalizer"]["lowercase"] = lowercase
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    ours = Tokenizer(tmp_path / "checkpoint", 9)
    (tmp_path / "saved").mkdir()
    ours.save(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_bytes((tiny_checkpoint / "config.json").read_bytes())
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved", local_files_only=True)
    assert theirs.model_max_length == 9
    assert (theirs.pad_token, theirs.mask_token, theirs.unk_token) == ("[PAD]", "[MASK]", "[UNK]")
    texts, seconds = ["The CAT runs", "the dog " * 20], ["a bird", "A Dog " * 20]
    found = theirs(texts, truncation=True)
    assert found["input_ids"] == texts_of(ours.encode(texts))
    pairs, expected = theirs(texts, seconds, truncation=True), ours.encode(texts, seconds)
    assert pairs["input_ids"] == texts_of(expected)
    assert np.concatenate(pairs["token_type_ids"]).tolist() == expected.types.tolist()
    assert [len(each) for each in found["input_ids"]][1] == 9
