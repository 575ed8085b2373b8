"""Tokenizers of every kind, trained on a few made-up sentences, and the Unicode texts to try them on."""

import json
import random

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from word_salad import SPECIAL, WORDS, sentences

SIZE = 300  # tokens
NAMES = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
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
    names = {f"{each[1:-1].lower()}_token": each for each in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}
    return _saved(tokenizer, folder, "bert", names)


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


KINDS = {"WordPiece": word_pieces, "byte-level BPE": byte_pairs, "Unigram": unigrams}


def _saved(tokenizer, folder, model_type, names):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


def unicode_texts(count, seed=0):
    """Return random texts: known words between characters of all planes, spaces, controls and special tokens."""
    rng = random.Random(seed)
    blocks = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x600), (0x900, 0xA00), (0x3040, 0x3100), (0x4E00, 0x9FA0),
              (0x1F300, 0x1F650), (0x2000, 0x2070), (0x300, 0x36F), (0x1, 0x20), (0x10000, 0x10100)]  # fmt: skip
    special = ["<s>", "</s>", "<mask>", "[CLS]", "[SEP]", "\u200d", "\ufeff", "  ", "\u2028", ""]

    def part():
        kind = rng.random()
        if kind < 0.4:
            return rng.choice(WORDS)
        if kind < 0.5:
            return rng.choice(special)
        low, high = rng.choice(blocks)
        return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 6)))

    return [rng.choice(["", " "]).join(part() for _ in range(rng.randint(0, 12))) for _ in range(count)]
