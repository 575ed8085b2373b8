"""The tokenizer: converts texts to vocabulary ids, in parallel, without padding."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer as FastTokenizer

from mbert_cli.data.text_windows import LongTextReader, Windows
from mbert_cli.errors import CheckpointError
from mbert_cli.recipe.long_texts import WindowsSection

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
_SOURCES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model")
"""Files of tokenizers that transformers converts, if there is no tokenizer.json."""
_ROLES = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
"""The roles of special tokens, and their usual names, for checkpoints that do not name them."""
_AT_ONCE = 4096  # texts; the result objects of the library take a hundred times the memory of the ids


@dataclass(frozen=True)
class Tokens:
    """Token ids of many texts, concatenated.

    Args:
        ids: the ids of all texts, int32.
        types: the token type of each id, uint8.
        starts: index of the first id of each text; the last entry is the number of ids.
        cut: indices of the texts that were truncated.
        windows: the windows of the texts; None if every text is one sequence.
    """

    ids: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    cut: list[int]
    windows: Windows | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each text."""
        return np.diff(self.starts)

    def windows_of(self, rows: np.ndarray) -> Windows:
        """Return the windows of some texts: the sequences that the encoder reads."""
        if self.windows is None:
            return Windows(self.starts[rows + 1] - self.starts[rows], np.ones(len(rows), np.int64))
        return self.windows.take(rows)


class Tokenizer:
    """A checkpoint's tokenizer, of any kind: WordPiece, byte-level BPE, Unigram.

    Args:
        folder: the checkpoint, with `tokenizer.json`, or with older files, which transformers converts.
        max_length: the longest sequence in tokens, including [CLS] and [SEP]; longer texts are truncated.

    Raises:
        CheckpointError: no such file exists, it cannot be read, or it lacks a special token.
    """

    def __init__(self, folder: Path, max_length: int) -> None:
        self._tokenizer = _load(folder)
        _try(self._tokenizer, folder)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self.max_length = max_length
        self._special = _special_tokens(folder, self._tokenizer)

    @property
    def vocab_size(self) -> int:
        """The largest id plus 1."""
        return 1 + max(self._tokenizer.get_vocab().values(), default=-1)

    @property
    def mask_id(self) -> int | None:
        """The id of the token that replaces a missing word; None if there is none."""
        name = self._special.get("mask_token")
        return None if name is None else self._tokenizer.token_to_id(name)

    @property
    def frame_ids(self) -> list[int]:
        """The ids of the tokens around texts, such as [CLS] and [SEP]."""
        pair = self._tokenizer.encode("a", "a")
        return sorted({id_ for id_, is_special in zip(pair.ids, pair.special_tokens_mask, strict=True) if is_special})

    def save(self, folder: Path, has_types: bool = True) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`; with them transformers returns the same tokens.

        Without the second file, transformers uses the default tokenizer of the encoder's family. That tokenizer
        lower-cases texts even for cased encoders, and it does not truncate.

        Args:
            folder: an existing folder.
            has_types: whether the encoder reads token types.
        """
        self._tokenizer.save(str(folder / FILE))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.max_length,
            "model_input_names": ["input_ids", *["token_type_ids"] * has_types, "attention_mask"],
            **self._special,
        }
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def file_size(self) -> int:
        """Return the approximate number of bytes that `save` writes."""
        return len(self._tokenizer.to_str(pretty=True).encode())

    def encode(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None, *, windows: WindowsSection | None = None
    ) -> Tokens:
        """Return the tokens of each text: [CLS] text [SEP].

        Args:
            texts: the texts.
            seconds: for each text, a second text in the same sequence, with token type 1: [CLS] text [SEP] second
                [SEP]. If the sequence is too long, the longer of the two texts is truncated.
            windows: read what is too long in windows instead; see `LongTextReader`.
        """
        ids: list[np.ndarray] = [np.zeros(0, np.int32)]
        types: list[np.ndarray] = [np.zeros(0, np.uint8)]
        lengths: list[int] = []
        cut: list[int] = []
        longer: dict[int, list[int]] = {}  # for each text with several windows, the number of tokens of each
        inputs = list(texts) if seconds is None else list(zip(texts, seconds, strict=True))
        for start in range(0, len(inputs), _AT_ONCE):
            encodings = self._tokenizer.encode_batch_fast(inputs[start : start + _AT_ONCE])
            ids += [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
            types += [np.array(encoding.type_ids, dtype=np.uint8) for encoding in encodings]
            lengths += [len(encoding) for encoding in encodings]
            too_long = [start + index for index, encoding in enumerate(encodings) if encoding.overflowing]
            if windows is None:
                cut += too_long
                continue
            reader = LongTextReader(self._tokenizer, self.max_length, windows)
            for row, read in zip(too_long, reader.read([inputs[row] for row in too_long]), strict=True):
                ids[1 + row], types[1 + row], lengths[row] = read.ids, read.types, len(read.ids)
                if len(read.lengths) > 1:
                    longer[row] = read.lengths
                if read.is_cut:
                    cut.append(row)
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        own_windows = Windows.of(np.diff(starts), longer) if longer else None
        return Tokens(np.concatenate(ids), np.concatenate(types), starts, cut, own_windows)


def _load(folder: Path) -> FastTokenizer:
    path = folder / FILE
    if not path.is_file():
        return _converted(folder)
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy the checkpoint again.") from None
    try:
        return FastTokenizer.from_str(text)
    except Exception as error:  # the library raises a bare Exception
        raise CheckpointError(f"{path}: cannot be read ({error}); copy the checkpoint again.") from None


def _special_tokens(folder: Path, tokenizer: FastTokenizer) -> dict[str, str]:
    """Return the special tokens by role: as the checkpoint names them, or by their usual names."""
    stated: dict[str, Any] = {}
    for name in ("special_tokens_map.json", CONFIG):
        with suppress(OSError, ValueError, RecursionError):
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            stated |= content if isinstance(content, dict) else {}
    found = {}
    for role, usual in _ROLES.items():
        named = stated.get(role)
        names = [named.get("content") if isinstance(named, dict) else named, *usual]
        known = [each for each in names if isinstance(each, str) and tokenizer.token_to_id(each) is not None]
        if known:
            found[role] = known[0]
    return found


def _try(tokenizer: FastTokenizer, folder: Path) -> None:
    """Encode a letter that no vocabulary contains. This fails if the tokenizer lacks [UNK], [CLS] or [SEP]."""
    try:
        tokenizer.encode("\ua66e")
    except BaseException as error:  # an error in Rust is an Exception, or a PanicException, which is a BaseException
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(
            f"{_file_of(folder)}: cannot encode an unknown word ({error}); copy the checkpoint again."
        ) from None


def _file_of(folder: Path) -> Path:
    """Return the file of a checkpoint's tokenizer."""
    for name in (FILE, *_SOURCES):
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder}: contains no tokenizer: neither {FILE} nor {', '.join(_SOURCES)}.")


def _converted(folder: Path) -> FastTokenizer:
    """Convert older files, such as `vocab.txt`, to a tokenizer; code in the checkpoint does not run."""
    source = _file_of(folder)
    if source.suffix == ".model" and find_spec("sentencepiece") is None:
        raise CheckpointError(f"{source}: is read with sentencepiece; pip install 'mbert-cli[sentencepiece]'.")
    from transformers import AutoTokenizer

    try:
        converted = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return FastTokenizer.from_str(converted.backend_tokenizer.to_str())
    except Exception as error:  # transformers and tokenizers raise anything from OSError to a bare Exception
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{source}: cannot be read ({reason}); copy the checkpoint again.") from None
