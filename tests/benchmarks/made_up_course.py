"""Made-up files with the names and columns of the course's, and an encoder that reads them.

For machines that have neither the course's files nor a real encoder. The sentences have the lengths of real ones, and
the vocabulary has the size of the encoder's, so that a step does as much work as on real data.
"""

import json
import math
import random

from workload import COLUMNS

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MEAN_WORDS, _SPREAD = 15.2, 0.6  # those of the course's files: 17.2 tokens with [CLS] and [SEP]
TOKENS_PER_SENTENCE = _MEAN_WORDS + 2
"""Mean number of tokens of a sentence."""


def write_course(folder, rows):
    """Write the files of the three tasks.

    Args:
        folder: the folder for the files.
        rows: number of rows of each file.
    """
    for task, (prefix, texts, label) in COLUMNS.items():
        for split in ("train", "dev"):
            rng = random.Random(f"{task} {split}")
            highest = {"sst": 4, "quora": 1, "sts": 5}[task]
            lines = ["\t".join(["id", *texts, label])]
            for number in range(rows):
                sentences = [_sentence(rng) for _ in texts]
                lines.append("\t".join([str(number), *sentences, str(rng.randint(0, highest))]))
            (folder / f"{prefix}-{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_tokenizer(folder, vocab_size):
    """Write a tokenizer for which each made-up word is one token, as transformers opens it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = [*_SPECIAL, *(_word(index) for index in range(vocab_size - len(_SPECIAL)))]
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def _sentence(rng):
    count = round(rng.lognormvariate(math.log(_MEAN_WORDS) - _SPREAD**2 / 2, _SPREAD))
    return " ".join(_word(int(rng.paretovariate(0.5)) % _COMMON) for _ in range(min(max(count, 1), 120)))


_COMMON = 20_000  # different words; a few are frequent, as in a real language


def _word(index):
    return f"w{index}"
