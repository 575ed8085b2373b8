"""What the name of a column suggests: labels, a scale, ids, texts, pairs."""

import re
from collections.abc import Collection

_LABEL_NAMES = (
    "label", "labels", "class", "category", "target", "y", "sentiment", "emotion", "mood", "intent", "topic", "stars",
    "rating", "score", "similarity", "is_duplicate", "duplicate", "same", "is_same", "entailment", "gold_label",
    "quality", "relatedness", "judgment", "judgement", "polarity", "gold", "classes", "categories",
)  # fmt: skip
_SCALE_WORDS = frozenset(
    {"score", "scores", "rating", "similarity", "relatedness", "grade", "points", "percent", "percentage", "scale"}
)
_TEXT_NAMES = (
    "text", "sentence", "review", "comment", "message", "question", "query", "title", "body", "content", "string",
    "premise", "hypothesis", "summary", "headline", "tweet", "utterance", "phrase", "passage", "abstract",
)  # fmt: skip
# Whole names, and words in names.
_ID_NAMES = frozenset({"index", "key", "no", "nr", "number", "row", "line", "rownum", "unnamed: 0"})
_ID_WORDS = frozenset({"id", "ids", "idx", "guid", "uuid", "uid", "pid", "qid", "sid", "did", "docid", "rowid"})
_SPLIT_NAMES = frozenset(
    {"train", "training", "dev", "valid", "validation", "val", "test", "testing", "trial", "eval", "heldout"}
)
# The names of a pair differ in one word.
_PAIR_WORDS = frozenset(
    {
        ("1", "2"), ("0", "1"), ("a", "b"), ("one", "two"), ("first", "second"), ("left", "right"),
        ("premise", "hypothesis"), ("question", "answer"), ("query", "passage"), ("query", "document"),
        ("source", "target"),
    }
)  # fmt: skip
_PAIR_ENDS = (("a", "b"), ("A", "B"), ("one", "two"), ("first", "second"), ("left", "right"))


def words_of(name: str) -> list[str]:
    """Return the words and numbers of a name: `#1 String` is `1` and `string`, `pair_ID` is `pair` and `id`."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[0-9]+", name)]


def label_rank(name: str) -> int | None:
    """Return how clearly a name suggests labels: 0 is the clearest; None if it does not suggest labels."""
    if name.lower() in _LABEL_NAMES:
        return _LABEL_NAMES.index(name.lower())
    ranks = [_LABEL_NAMES.index(word) for word in words_of(name) if word in _LABEL_NAMES and len(word) > 1]
    if not ranks:
        return None
    return min(ranks) + len(_LABEL_NAMES) * (1 + _has_id_word(name))  # label_id is less clear than gold_label


def is_label_name(name: str) -> bool:
    """Whether a name as a whole means labels: `label`, but not `label_toxic`."""
    return name.lower() in _LABEL_NAMES


def is_usual(name: str) -> bool:
    """Whether a name is one that columns of texts, labels or ids usually have."""
    short_id = len(words_of(name)) <= 3 and _has_id_word(name)
    return is_label_name(name) or suggests_text(name) or name.lower() in _ID_NAMES or short_id


def suggests_label(name: str) -> bool:
    """Whether a name suggests labels."""
    return label_rank(name) is not None


def suggests_scale(name: str) -> bool:
    """Whether a name suggests numbers on a scale."""
    return not _SCALE_WORDS.isdisjoint(words_of(name))


def suggests_id(name: str) -> bool:
    """Whether a name suggests ids or row numbers. `label_id` suggests labels instead."""
    return name.lower() in _ID_NAMES or (_has_id_word(name) and not suggests_label(name))


def _has_id_word(name: str) -> bool:
    return not _ID_WORDS.isdisjoint(words_of(name))


def are_splits(values: Collection[str]) -> bool:
    """Whether values are names of splits: `TRAIN`, `TRIAL` and `TEST`."""
    return len(values) > 1 and _SPLIT_NAMES.issuperset(value.lower() for value in values)


def suggests_text(name: str) -> bool:
    """Whether a name suggests texts: `text`, `sentence_A`, `reviewText`."""
    words = [word for word in words_of(name) if len(word) > 1 and not word.isdigit()]
    return bool(words) and all(word in _TEXT_NAMES for word in words)


def are_a_pair(first: str, second: str) -> bool:
    """Whether two names are a pair: they differ only in 1 and 2, A and B, premise and hypothesis, and so on."""
    ones, twos = words_of(first), words_of(second)
    differing = [pair for pair in zip(ones, twos, strict=False) if pair[0] != pair[1]]
    if len(ones) == len(twos) and len(differing) == 1 and differing[0] in _PAIR_WORDS:
        return True
    return any(
        first.endswith(one) and second.endswith(two) and first.removesuffix(one) == second.removesuffix(two) != ""
        for one, two in _PAIR_ENDS
    )
