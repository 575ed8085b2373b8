"""The course's files, in the folder MBERT_DATA: their text columns and their label columns."""

import os
from pathlib import Path

_BESIDE_THE_REPOSITORY = Path(__file__).parents[4] / "shared" / "data" / "cs224n"
# For each file its text columns and its label column, or None if it has no labels.
COURSE_FILES: dict[str, tuple[list[str], str | None]] = {
    "ids-sst-train.csv": (["sentence"], "sentiment"),
    "ids-sst-dev.csv": (["sentence"], "sentiment"),
    "ids-sst-test-student.csv": (["sentence"], None),
    "ids-cfimdb-train.csv": (["sentence"], "sentiment"),
    "ids-cfimdb-dev.csv": (["sentence"], "sentiment"),
    "quora-train.csv": (["sentence1", "sentence2"], "is_duplicate"),
    "quora-dev.csv": (["sentence1", "sentence2"], "is_duplicate"),
    "sts-train.csv": (["sentence1", "sentence2"], "similarity"),
    "sts-dev.csv": (["sentence1", "sentence2"], "similarity"),
    "sts-test-student.csv": (["sentence1", "sentence2"], None),
}


def course_folder() -> Path | None:
    """Return the folder of the course's files, or None if it does not exist."""
    folder = Path(os.environ.get("MBERT_DATA", _BESIDE_THE_REPOSITORY))
    return folder if folder.is_dir() else None
