"""Tokenizers of every kind, trained on a few made-up sentences, and the Unicode texts to try them on."""

import json
import random

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import DebertaV2Tokenizer, XLMRobertaTokenizer
from word_salad import SPECIAL, WORDS, sentences

SIZE = 300  # tokens
NAMES = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
BRACKETS = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
_ORDER = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]  # as in RoBERTa and XLM-R: the padding token's id is 1


def word_pieces(folder):
    """Write a cased WordPiece tokenizer, as BERT's."""
    words = [*SPECIAL, *WORDS, *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"), "T", "é", "日"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return _saved(tokenizer, folder, "bert", BRACKETS)


def byte_pairs(folder):
    """Write a tokenizer of pairs of bytes, as RoBERTa's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=_ORDER, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(200, 1), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return _saved(tokenizer, folder, "roberta", NAMES)


def unigrams(folder):
    """Write a Unigram tokenizer, as XLM-R's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=_ORDER, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(sentences(200, 1), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _saved(tokenizer, folder, "xlm-roberta", NAMES)


def byte_pairs_in_brackets(folder):
    """Write a tokenizer of pairs of bytes, as ModernBERT's: [MASK] includes the space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|padding|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(200, 1), trainer)
    tokenizer.add_tokens([AddedToken(each, normalized=True) for each in (" " * 4, " " * 3, "  ", "|||IP_ADDRESS|||")])
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]", AddedToken("[MASK]", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return _saved(tokenizer, folder, "modernbert", BRACKETS)


def deberta_unigrams(folder):
    """Write a Unigram tokenizer of DeBERTa v3, as transformers does."""
    pieces = _pieces(["[PAD]", "[CLS]", "[SEP]", "[UNK]"], "[UNK]")
    DebertaV2Tokenizer(vocab=pieces, unk_id=3).save_pretrained(folder)
    return _with_config(folder, "deberta-v2")


def gte_unigrams(folder):
    """Write a Unigram tokenizer of multilingual GTE, which is that of XLM-R, as transformers does."""
    pieces = _pieces(["<s>", "<pad>", "</s>", "<unk>"], "<unk>")
    XLMRobertaTokenizer(vocab=[*pieces, ("<mask>", 0.0)]).save_pretrained(folder)
    return _with_config(folder, "gte")


def sentence_pieces(folder):
    """Write the only file of the tokenizer of DeBERTa v3 that is published: a model of SentencePiece."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "spm.model", "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences(200, 1)), model_writer=file, vocab_size=60, minloglevel=2,
            pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]",
            unk_piece="[UNK]",
        )  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "spm"}))
    return _with_config(folder, "deberta-v2")


KINDS = {
    "WordPiece": word_pieces,
    "byte-level BPE": byte_pairs,
    "byte-level BPE in brackets": byte_pairs_in_brackets,
    "Unigram": unigrams,
    "Unigram of DeBERTa": deberta_unigrams,
    "Unigram of GTE": gte_unigrams,
    "SentencePiece": sentence_pieces,
}


def _pieces(special, unknown):
    """Return the pieces of a trained Unigram model and their scores; the special tokens come first."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=special, unk_token=unknown, show_progress=False)
    tokenizer.train_from_iterator(sentences(200, 1), trainer)
    return [tuple(piece) for piece in json.loads(tokenizer.to_str())["model"]["vocab"]]


def _saved(tokenizer, folder, model_type, names):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return _with_config(folder, model_type)


def _with_config(folder, model_type):
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


def unicode_texts(count, seed=0):
    """Return random texts: known words between characters of all planes, spaces, controls and special tokens."""
    rng = random.Random(seed)
    blocks = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x600), (0x900, 0xA00), (0x3040, 0x3100), (0x4E00, 0x9FA0),
              (0x1F300, 0x1F650), (0x2000, 0x2070), (0x300, 0x36F), (0x1, 0x20), (0x10000, 0x10100)]  # fmt: skip
    special = [
        "<s>",
        "</s>",
        "<mask>",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "|||IP_ADDRESS|||",
        "    ",
        "\u200d",
        "\ufeff",
        "  ",
        "\u2028",
        "",
    ]

    def part():
        kind = rng.random()
        if kind < 0.4:
            return rng.choice(WORDS)
        if kind < 0.5:
            return rng.choice(special)
        low, high = rng.choice(blocks)
        return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 6)))

    return [rng.choice(["", " "]).join(part() for _ in range(rng.randint(0, 12))) for _ in range(count)]
