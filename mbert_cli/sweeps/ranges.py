"""The ranges of a search: the values that a key of the recipe can have.

    training.learning_rate: {log: [1e-5, 1e-3]}     a number, uniform on a logarithmic scale
    training.warmup: {uniform: [0, 0.3]}            a number; a `step` is optional
    adapters[0].rank: {int: [8, 64], step: 8}       a whole number; a `step` is optional
    pooling: {choice: [cls, mean]}                  one of some values; a list alone means the same

Must not import torch: fast start-up.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mbert_cli.messages import nearest, shown
from mbert_cli.recipe.document import KeyPath
from mbert_cli.recipe.reader import Reader

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Kind = Literal["log", "uniform", "int", "choice"]

KINDS = ("log", "uniform", "int", "choice")
_EXAMPLES = "{log: [1e-5, 1e-3]}, {uniform: [0, 0.3]}, {int: [1, 4]} or a list of values"
_OTHER_NAMES = {
    "loguniform": "log",
    "log_uniform": "log",
    "log_uniform_values": "log",
    "float": "uniform",
    "quniform": "uniform",
    "randint": "int",
    "int_uniform": "int",
    "values": "choice",
    "categorical": "choice",
    "grid": "choice",
}
"""What Optuna, Ray Tune and Weights & Biases call the kinds."""
_LARGEST = 2**53  # above it, not every whole number is a float, which samplers compute with


@dataclass(frozen=True)
class Range:
    """The values that a key can have.

    Args:
        key: the key, e.g. `training.learning_rate` or `adapters[0].rank`.
        kind: how values are chosen.
        low: the smallest value; 0 for a choice.
        high: the largest value; 0 for a choice.
        step: distance between two values; None for any value, or 1 for whole numbers.
        choices: the values of a choice.
    """

    key: str
    kind: Kind
    low: int | float = 0
    high: int | float = 0
    step: int | float | None = None
    choices: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The key without `training.`, as tables show it."""
        return self.key.removeprefix("training.")

    @property
    def ends(self) -> list[Any]:
        """The values to check before the search: all choices, or the smallest and the largest value."""
        return list(self.choices) if self.kind == "choice" else [self.low, self.high]

    def distribution(self) -> "BaseDistribution":
        """Return the range as a distribution of Optuna. Choices are JSON, because Optuna takes no lists or mappings."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution([as_json(each) for each in self.choices])
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high), step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.kind == "log", step=self.step)

    def value_of(self, suggestion: Any) -> Any:
        """Return the value of the key for a value of `distribution`."""
        return json.loads(suggestion) if self.kind == "choice" else suggestion

    def setting(self, value: Any) -> str:
        """Return the override that sets the key: `training.learning_rate=0.0001`."""
        plain = isinstance(value, str) and value.isidentifier() and value.casefold() not in ("true", "false", "null")
        return f"{self.key}={value if plain else as_json(value)}"


def shown_value(value: Any) -> str:
    """Return a value of a range as tables show it: numbers with four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """Return a value as JSON, which is also YAML."""
    return json.dumps(value, ensure_ascii=False)


def read_range(reader: Reader, path: KeyPath, key: str) -> Range | None:
    """Read a range; its problems are added to those of the reader.

    Args:
        reader: the reader of the plan.
        path: where the range is in the plan.
        key: the key of the recipe.
    """
    written = reader.value(path)
    if isinstance(written, list):
        written, where = {"choice": written}, path
    elif isinstance(written, dict):
        where = (*path, next((each for each in KINDS if each in written), ""))
    else:
        reader.problem(path, f"must be a range, such as {_EXAMPLES}, but is {shown(written)}.")
        return None
    kinds = [each for each in written if each != "step"]
    if len(kinds) != 1 or kinds[0] not in KINDS:
        reader.problem(path, _kind_problem(written, kinds))
        return None
    kind: Kind = kinds[0]
    problem = _choice_problem(written) if kind == "choice" else _limits_problem(kind, written)
    if problem is not None:
        key_with_problem, what = problem
        reader.problem(where if key_with_problem == kind else (*path, key_with_problem), what)
        return None
    if kind == "choice":
        return Range(key, kind, choices=tuple(written[kind]))
    low, high = written[kind] if kind == "int" else map(float, written[kind])
    return Range(key, kind, low, high, written.get("step"))


def _kind_problem(written: Mapping[str, Any], kinds: list[str]) -> str:
    if "min" in written or "max" in written:
        return "has min and max; write {uniform: [min, max]}, {log: [min, max]} or {int: [min, max]}."
    if len(kinds) != 1:
        return f"must have one of {', '.join(KINDS)}, but has {', '.join(map(shown, kinds)) or 'none'}."
    meant = _OTHER_NAMES.get(str(kinds[0]))
    hint = (
        f"; did you mean '{meant}'? Known: {', '.join(KINDS)}." if meant else nearest(str(kinds[0]), [*KINDS, "step"])
    )
    return f"has the unknown kind '{kinds[0]}'{hint}"


def _choice_problem(written: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key of a choice that has a problem, and the problem."""
    values = written["choice"]
    if "step" in written:
        return "step", "is for uniform and int; remove it."
    if not isinstance(values, list) or not values:
        return "choice", f"must be a list of values, but is {shown(values)}."
    texts = [as_json(each) for each in values]
    double = next((text for text in texts if texts.count(text) > 1), None)
    return None if double is None else ("choice", f"contains {double} more than once.")


def _limits_problem(kind: Kind, written: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key of a range of numbers that has a problem, and the problem."""
    values, step = written[kind], written.get("step")
    if not isinstance(values, list) or len(values) != 2:
        return kind, f"must be a list of the smallest and the largest value, but is {shown(values)}."
    wrong = next((each for each in values if not _is_number(each, kind)), None)
    if wrong is not None or None in values:
        return kind, f"must contain two {'whole' if kind == 'int' else 'finite'} numbers, but contains {shown(wrong)}."
    low, high = values
    if kind == "log" and low <= 0:
        return (
            kind,
            f"must begin above 0, because its scale is logarithmic, but begins at {low:g}; use uniform, or a "
            "smallest value above 0.",
        )
    if low >= high:
        return kind, f"must have the smallest value first, and a larger one second, but is [{low:g}, {high:g}]."
    if "step" not in written:
        return None
    if kind == "log":
        return "step", "is for uniform and int; remove it."
    if not _is_number(step, kind) or step is None or not 0 < step <= high - low:
        number = "a whole number" if kind == "int" else "a number"
        return "step", f"must be {number} above 0 and at most {high - low:g}, but is {shown(step)}."
    return None


def _is_number(value: Any, kind: Kind) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if kind == "int" else int | float):
        return False
    return math.isfinite(value) and abs(value) <= _LARGEST
