"""The course's files, compared cell by cell with an independent parser."""

from pathlib import Path

from course_files import COURSE_FILES, course_folder
from experiment import Chance, Experiment, check
from reference_table import read_rows

from mbert_cli.data.table import Table


def _cells_are_equal(rng: Chance, folder: Path) -> None:
    data = course_folder()
    check(data is not None, "set MBERT_DATA to the folder of the course's files")
    assert data is not None
    name = list(COURSE_FILES)[rng.index % len(COURSE_FILES)]
    (_, header), *expected = read_rows((data / name).read_bytes(), name)
    with Table(str(data / name)) as table:
        found = [(row.line, row.cells) for row in table]
        check(table.header == header, f"{name}: the header differs")
    # By position, so that a failure shows no sentence of the data.
    wrong = [at for at, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]
    check(not wrong, f"{name}: {len(wrong)} rows differ, the first of them row {wrong[:1]}")


course_cells = Experiment(
    9,
    "each of the ten files of the course (in MBERT_DATA): every line and cell as in an independent parser",
    len(COURSE_FILES),
    len(COURSE_FILES),
    _cells_are_equal,
)
