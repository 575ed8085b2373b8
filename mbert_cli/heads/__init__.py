"""Heads: how sentence vectors become the predictions, losses and metrics of a task.

To add a head, add one file here. For `{kind: pair_classification}`, the file is `pair_classification.py` and the class
is `PairClassification`: the kind without underscores, in any capitals. The base classes are in the package `base`: the
interface `Head`; `ClassHead` and `BinaryHead` for classes; `ValueHead` and `ScaleHead` for numbers; `DecidingHead` for
predictions with thresholds. The constructor takes the hidden size; its keyword-only parameters are the options in a
recipe. `tests/heads/test_labels_from.py` tests every file here; `tests/components.py` has the options for tests. The
users' list is in `guide/heads.md`.
"""

from mbert_cli.heads.base.classes import BinaryHead, ClassHead, as_classes
from mbert_cli.heads.base.deciding import DecidingHead
from mbert_cli.heads.base.head import Columns, Head
from mbert_cli.heads.base.numbers import Limit, ScaleHead, ValueHead
from mbert_cli.heads.base.weights import PositiveNumber, is_weight

__all__ = [
    "BinaryHead",
    "ClassHead",
    "Columns",
    "DecidingHead",
    "Head",
    "Limit",
    "PositiveNumber",
    "ScaleHead",
    "ValueHead",
    "as_classes",
    "is_weight",
]
