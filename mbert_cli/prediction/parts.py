"""The parts of a prediction that was made with `--shard`, in their order.

Must not import torch: fast start-up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import DataError
from mbert_cli.storage.finished_output import FinishedOutput, finished_output

# What may differ between parts: it changes at most the last digits of numbers.
_COMPUTATION = ("hardware", "versions")
_MOST_LISTED = 20
_NAMES = {"input": "the input", "model": "the model", "reading": "quoting, delimiter or columns"}


@dataclass(frozen=True)
class Parts:
    """All parts of one prediction.

    Args:
        outputs: the parts, in order.
        ending: ending of their format; "" if it is not known.
        notes: what the user should know, one sentence each.
    """

    outputs: Sequence[FinishedOutput]
    ending: str
    notes: Sequence[str]

    @property
    def rows(self) -> int:
        """Number of rows of all parts."""
        return sum(each.rows for each in self.outputs)


def find_parts(paths: Sequence[Path]) -> Parts:
    """Check that files are all parts of one prediction, and return them in order.

    Args:
        paths: the files, in any order.

    Raises:
        DataError: a part is missing, given twice, not finished, or of another prediction.
    """
    numbered: dict[int, FinishedOutput] = {}
    first: FinishedOutput | None = None
    notes: dict[str, None] = {}
    for path in paths:
        output = finished_output(path)
        shard = _shard(output)
        first = first or output
        _check_same(first, output)
        if shard["part"] in numbered:
            other = numbered[shard["part"]].path
            raise DataError(
                f"{path}: is part {shard['part']} of {shard['parts']}, as is {other}; leave one of them out."
            )
        numbered[shard["part"]] = output
        notes |= dict.fromkeys(_differences(first, output))
    assert first is not None, "there is a part"
    parts, ending = _shard(first)["parts"], _shard(first)["ending"]
    missing = [str(number) for number in range(1, parts + 1) if number not in numbered]
    if missing:
        listed = ", ".join(missing[:_MOST_LISTED]) + (
            f" and {len(missing) - _MOST_LISTED} more" * (len(missing) > _MOST_LISTED)
        )
        verb = "is" if len(missing) == 1 else "are"
        raise DataError(
            f"{first.path.parent}: part{'s' * (len(missing) > 1)} {listed} of {parts} {verb} missing; predict "
            f"{'it' if len(missing) == 1 else 'them'} with --shard {missing[0]}/{parts}, and name all parts."
        )
    found = Parts([numbered[number] for number in range(1, parts + 1)], ending, list(notes))
    if found.rows != _shard(first)["rows"]:
        raise DataError(
            f"{first.path}: the parts have {found.rows} rows, the input {_shard(first)['rows']}; predict again."
        )
    return found


def _shard(output: FinishedOutput) -> dict[str, Any]:
    """Return the record of a part.

    Raises:
        DataError: the output was not written with `--shard`.
    """
    shard = output.fingerprint.get("shard")
    if not isinstance(shard, dict):
        raise DataError(f"{output.path}: is not a part, because it was written without --shard; leave it out.")
    return shard


def _check_same(one: FinishedOutput, other: FinishedOutput) -> None:
    """Check that two parts are of the same prediction."""
    differ = [name for name in _changes(one.fingerprint, other.fingerprint) if name not in ("shard", *_COMPUTATION)]
    shards = _shard(one), _shard(other)
    differ += [name for name in ("parts", "rows", "ending") if shards[0][name] != shards[1][name]]
    if differ:
        names = {"parts": "the number of parts", "rows": "the number of rows", "ending": "the format", **_NAMES}
        what = " and ".join(names.get(name, name) for name in differ)
        raise DataError(
            f"{other.path}: is not of the same prediction as {one.path}: {what} differ{'s' * (len(differ) == 1)}; "
            "leave it out, or predict it again."
        )


def _differences(one: FinishedOutput, other: FinishedOutput) -> list[str]:
    """Return a sentence if two parts were computed differently."""
    differ = [name for name in _changes(one.fingerprint, other.fingerprint) if name in _COMPUTATION]
    listed = [
        f"{name} {one.fingerprint[kind].get(name)} and {other.fingerprint[kind].get(name)}"
        for kind in differ
        for name in _changes(one.fingerprint[kind], other.fingerprint[kind])
    ]
    if not listed:
        return []
    return [f"the parts were computed differently ({', '.join(listed)}), which can change the last digits of numbers."]


def _changes(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]
