"""Hostile file names in every place that reads a name: nothing outside the output changes."""

import csv
import io
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from damaged_checkpoints import trained_run
from experiment import Broken, Chance, Experiment, check
from outcomes import snapshot
from processes import HARDWARE, recipe_of

from mbert_cli.cli import main

os.environ["HF_HUB_OFFLINE"] = "1"
_NAMES = [
    *(
        "../x",
        "../../x",
        "../elsewhere/secret.txt",
        "a/../../x",
        "{elsewhere}/x",
        "{elsewhere}/secret.txt",
        "a/b",
        "./x",
    ),
    *(".", "..", "/", "", " ", " x ", "con", "nul.tsv", "x\0y", "x\ny", "\n", "x\ry", "x\ty", "\x1b[2J", "\x07"),
    *(
        "x" * 255,
        "x" * 256,
        "x" * 5000,
        "é日本",
        "\u202egnp",
        "\ufeff",
        "a\u0300",
        "\u2028",
        "\u200b",
        "\udcff",
        "x/\udcff",
    ),
    *(
        "-rf",
        "--help",
        "-",
        "--",
        "~",
        "~/x",
        "~root/x",
        "$HOME/x",
        "${HOME}/x",
        "$(touch x)",
        "`touch x`",
        "; touch x",
    ),
    *(
        "*",
        "%s%n",
        "[red]x[/red]",
        "[/]",
        "'",
        '"',
        "\\",
        "a\\b",
        "|",
        "<script>",
        "x:y",
        "a=b",
        "=",
        "#x",
        "@x",
        "&a",
        "!x",
    ),
    *("NaN", "null", "true", "1e5", "0", "link-to-file", "link-to-folder", "link-to-folder/x", "link-to-nothing"),
    *(
        "recipe.yaml",
        "model",
        "model/x",
        "manifest.json",
        ".lock",
        "state",
        "rows",
        "package:json",
        "package:../x",
        "a/b/c",
    ),
]


@dataclass
class _Place:
    """A place where a hostile name is used.

    Args:
        work: the working folder. It holds a tiny recipe with its files and a trained run.
        name: the hostile name.
        output: the only path that the command may change.
        made: folders that the command may create for the output.
    """

    work: Path
    name: str
    output: Path | None = None
    made: Sequence[Path] = ()

    def recipe(self, change: Callable[[dict], None]) -> list[str]:
        """Return the command that trains a changed recipe."""
        recipe = json.loads((self.work / "recipe.yaml").read_text())
        change(recipe)
        # JSON with ASCII escapes is the only way to write a surrogate.
        (self.work / "recipe.yaml").write_text(json.dumps(recipe))
        self.output = self.work / "run"
        return ["train", "recipe.yaml", "-o", "run", "training.epochs=1", *HARDWARE]

    def may_write(self, whole_folder: bool) -> str:
        """Use the hostile name as the output, and return it. A link in place of an output file is not followed."""
        path = Path(os.path.normpath(self.work / self.name.replace("\0", "_")))
        self.made = [Path(os.path.normpath(each)) for each in (self.work / self.name).parents]
        self.output = Path(os.path.realpath(path)) if whole_folder else Path(os.path.realpath(path.parent)) / path.name
        return self.name

    def rewrite(self, file: str, change: Callable[[list[list[str]]], None]) -> str:
        """Change the rows of a file; return its name."""
        path = self.work / "files" / file
        rows = list(csv.reader(path.read_text().splitlines(), delimiter="\t"))
        change(rows)
        text = io.StringIO()
        csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
        path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
        return f"files/{file}"


def _task(at: _Place) -> list[str]:
    def change(recipe: dict) -> None:
        recipe["tasks"] = {at.name: recipe["tasks"]["mood"]}

    return at.recipe(change)


def _label(at: _Place) -> list[str]:
    for file in ("mood-train.tsv", "mood-dev.tsv"):
        at.rewrite(file, lambda rows: [row.__setitem__(2, at.name) for row in rows if row[2] == "high"] and None)

    def change(recipe: dict) -> None:
        recipe["tasks"] = {"mood": recipe["tasks"]["mood"]}
        recipe["tasks"]["mood"]["head"]["labels"][2] = at.name

    return at.recipe(change)


def _column(at: _Place) -> list[str]:
    for file in ("mood-train.tsv", "mood-dev.tsv"):
        at.rewrite(file, lambda rows: rows[0].__setitem__(1, at.name))

    def change(recipe: dict) -> None:
        recipe["tasks"] = {"mood": {**recipe["tasks"]["mood"], "text": at.name}}

    return at.recipe(change)


def _id(at: _Place) -> list[str]:
    file = at.rewrite("mood-dev.tsv", lambda rows: rows[2].__setitem__(0, at.name))
    at.output = at.work / "out.csv"
    return ["predict", "trained", file, "-t", "mood", "--format", "cs224n", "-o", "out.csv", *HARDWARE]


def _cell(at: _Place) -> list[str]:
    file = at.rewrite("mood-dev.tsv", lambda rows: rows[2].__setitem__(1, at.name))
    at.output = at.work / "out"
    return ["evaluate", "trained", "--data", f"mood={file}", "-o", "out", *HARDWARE]


def _in_recipe(*path: str) -> Callable[[_Place], list[str]]:
    def place(at: _Place) -> list[str]:
        def change(recipe: dict) -> None:
            for part in path[:-1]:
                recipe = recipe.setdefault(part, {})
            recipe[path[-1]] = at.name

        return at.recipe(change)

    return place


_PLACES: dict[str, Callable[[_Place], list[str]]] = {
    "task": _task,
    "label": _label,
    "column": _column,
    "id": _id,
    "cell": _cell,
    "checkpoint": _in_recipe("encoder", "checkpoint"),
    "train file": _in_recipe("tasks", "mood", "train"),
    "label column": _in_recipe("tasks", "mood", "label"),
    "id column": _in_recipe("tasks", "mood", "id"),
    "extends": _in_recipe("extends"),
    "select": _in_recipe("training", "select"),
    "train -o": lambda at: ["train", "recipe.yaml", "training.epochs=1", *HARDWARE, "-o", at.may_write(True)],
    "train -F": lambda at: ["train", "recipe.yaml", "training.epochs=1", *HARDWARE, "-F", "-o", at.may_write(True)],
    "evaluate -o": lambda at: ["evaluate", "trained", "-t", "mood", *HARDWARE, "-o", at.may_write(True)],
    "evaluate -F": lambda at: ["evaluate", "trained", "-t", "mood", *HARDWARE, "-F", "-o", at.may_write(True)],
    "predict -o": lambda at: ["predict", "trained", "files/mood-dev.tsv", *HARDWARE, "-o", at.may_write(False)],
    "predict -F": lambda at: ["predict", "trained", "files/mood-dev.tsv", *HARDWARE, "-F", "-o", at.may_write(False)],
    "report -o": lambda at: ["report", "trained", "-F", "-o", at.may_write(False)],
    "--data": lambda at: ["evaluate", "trained", *HARDWARE, "--data", f"mood={at.name}"],
    "--data of a task": lambda at: ["evaluate", "trained", *HARDWARE, "--data", f"{at.name}=files/mood-dev.tsv"],
    "-t": lambda at: ["predict", "trained", "files/mood-dev.tsv", *HARDWARE, "-t", at.name],
    "input": lambda at: ["predict", "trained", *HARDWARE, at.name],
    "recipe": lambda at: ["count-params", at.name],
    "run": lambda at: ["evaluate", *HARDWARE, at.name],
    "run to report": lambda at: ["report", "trained", at.name],
    "override": lambda at: ["count-params", "recipe.yaml", f"tasks.mood.label={at.name}"],
    "key": lambda at: ["count-params", "recipe.yaml", f"{at.name}=3"],
}
_ALL = list(itertools.product(_PLACES, _NAMES))
random.Random(1).shuffle(_ALL)


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before, argv = Path.cwd(), sys.argv
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.argv = argv
        for number, handler in signals.items():
            signal.signal(number, handler)


def mbert(words: list[str], work: Path) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it printed to standard error."""
    code = 0
    with tempfile.TemporaryFile() as messages:
        with _working_in(work), _streams_to(messages):
            sys.argv = ["mbert", *words]
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
        messages.seek(0)
        return code, messages.read().decode()


@contextmanager
def _streams_to(messages: IO[bytes]) -> Iterator[None]:
    """Redirect file descriptor 2 to a file and 1 to /dev/null, because the command line writes to descriptors."""
    kept, streams = [os.dup(number) for number in (1, 2)], (sys.stdout, sys.stderr)
    with open(os.devnull, "wb") as nowhere:
        for number, target in ((1, nowhere), (2, messages)):
            os.dup2(target.fileno(), number)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = streams
        for number, own in zip((1, 2), kept, strict=True):
            os.dup2(own, number)
            os.close(own)


def _tried(rng: Chance, folder: Path) -> None:
    where, name = _ALL[rng.index % len(_ALL)]
    work, elsewhere = folder / "outer" / "work", folder / "outer" / "elsewhere"
    shutil.copytree(recipe_of(folder).parent, work)
    shutil.copytree(trained_run(folder), work / "trained")
    elsewhere.mkdir()
    (elsewhere / "secret.txt").write_text("id\ttext\tmood\n1\ta cat\tlow\n")
    (work / "link-to-file").symlink_to("../elsewhere/secret.txt")
    (work / "link-to-folder").symlink_to("../elsewhere")
    (work / "link-to-nothing").symlink_to("../elsewhere/nothing")
    at = _Place(work, name.replace("{elsewhere}", str(elsewhere)))
    words = _PLACES[where](at)
    if any("\0" in word for word in words):
        return  # an argument of a program cannot contain a NUL character
    before = snapshot(folder)
    try:
        code, messages = mbert(words, work)
    except BaseException as error:
        raise Broken(f"{where} {at.name[:80]!r}: {type(error).__name__}: {error}"[:600]) from error
    after = snapshot(folder)
    check(code in (0, 2), f"{where} {at.name[:80]!r}: exit code {code}: {messages[-500:]}")
    check(code == 0 or messages.strip() != "", f"{where} {at.name[:80]!r}: exit code {code} without a message")
    check("Traceback" not in messages, messages)
    changed = [each for each in {*before, *after} if before.get(each, 0) != after.get(each, 0)]
    outside = [each for each in changed if not _may_change(folder / each, at, before.get(each, 0))]
    check(not outside, f"{where} {at.name[:80]!r}, exit code {code}: {sorted(outside)[:5]} changed")
    check(code == 0 or not changed, f"{where} {at.name[:80]!r}: rejected, but {sorted(changed)[:5]} changed")


def _may_change(path: Path, at: _Place, before: object) -> bool:
    """Return whether a path is the output, is inside it, or is a new folder that contains it."""
    return at.output in (path, *path.parents) or (path in at.made and before == 0)


hostile_names = Experiment(
    21,
    f"{len(_NAMES)} hostile names in {len(_PLACES)} places: exit code 0 or 2, nothing outside the output changes",
    len(_ALL),
    40,
    _tried,
)
