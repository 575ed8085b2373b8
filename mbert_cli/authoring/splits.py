"""Groups files by their names: `mood-train.tsv` and `mood-dev.tsv` are splits of one task."""

import re
from collections.abc import Sequence
from pathlib import Path

from mbert_cli.errors import UsageError

_SPLITS = {
    "train": "train", "training": "train", "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev",
    "trial": "dev", "test": "test", "testing": "test",
}  # fmt: skip
# Words after the name of a split that do not name another task: `test_annotated`, `test-student`.
_QUALIFIERS = (
    "annotated", "blind", "data", "final", "full", "gold", "hidden", "labeled", "labelled", "nolabel", "nolabels",
    "no[-_]labels?", "matched", "mismatched", "private", "public", "set", "split", "student", "unlabeled", "unlabelled",
)  # fmt: skip
_LAST = re.compile(rf"(?:^|[-_. ])({'|'.join(_SPLITS)})(?:[-_. ](?:{'|'.join(_QUALIFIERS)}))*$", re.IGNORECASE)
_FIRST = re.compile(rf"^({'|'.join(_SPLITS)})[-_. ](?=.)", re.IGNORECASE)


def split_of(file: Path) -> tuple[str, str | None]:
    """Return the name of a file without its split, and the split; None if the name contains no split.

    `mood-dev.tsv`, `dev_mood.tsv`, `mood_trial.txt` and `mood_validation_set.csv` are all dev of `mood`.
    """
    name = stem(file)
    match = _LAST.search(name) or _FIRST.search(name)
    if match is None:
        return name, None
    return name[: match.start()] + name[match.end() :], _SPLITS[match[1].lower()]


def group_files(files: Sequence[Path]) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """Group files by their names.

    NAME-train, NAME-dev and NAME-test are splits of NAME, and so are train-NAME, dev-NAME and test-NAME. NAME alone is
    the training file. A file that shares its NAME with no other file is a training file, even if its name ends in
    another split.

    Args:
        files: the files in any order.

    Returns:
        The files of each name by split, and remarks for the user.

    Raises:
        UsageError: two files are the same split, or several files share a name and none is the training file.
    """
    groups: dict[str, dict[str, Path]] = {}
    for file in files:
        name, named = split_of(file)
        split = named or "train"
        own = groups.setdefault(slug(name), {})
        if split in own:
            raise UsageError(
                f"{file}: is the {split} file of the same task as {own[split]}; leave out or rename one of them."
            )
        own[split] = file
    named_groups: dict[str, dict[str, Path]] = {}
    remarks = []
    for name, own in groups.items():
        if "train" in own:
            named_groups[name] = own
            continue
        file = next(iter(own.values()))
        if len(own) > 1 or slug(stem(file)) in groups:
            raise UsageError(f"{file}: there is no training file of task {name}; name it as well.")
        named_groups[slug(stem(file))] = {"train": file}
        remarks.append(f"{file}: used as a training file, because no other file of task {name} is named")
    return named_groups, remarks


def split_named(text: str) -> str | None:
    """Return the split that a text names in any case: `TRIAL` names dev. None if it names none."""
    return _SPLITS.get(text.strip().lower())


def text_ending(file: Path) -> str:
    """Return the extensions of a file for a text file with the same rows; a name must not end like a binary format."""
    ending = file.name.removeprefix(stem(file))
    return re.sub(r"\.gz$", "", re.sub(r"\.parquet", ".tsv", ending, flags=re.IGNORECASE), flags=re.IGNORECASE)


def stem(file: Path) -> str:
    """Return the name of a data file without its extensions."""
    return re.sub(r"(\.(tsv|csv|jsonl|ndjson|json|txt|parquet|gz))+$", "", file.name, flags=re.IGNORECASE) or file.name


def slug(text: str) -> str:
    """Return a text as a valid name of a task."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:64].strip("_") or "task"
