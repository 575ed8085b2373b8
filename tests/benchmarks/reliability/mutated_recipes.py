"""Recipes with random damage in text, values or overrides: each loads, or the error names the place."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from experiment import Experiment, check
from outcomes import refusal
from processes import recipe_of

from mbert_cli.messages import one_line
from mbert_cli.model.components import load_recipe
from mbert_cli.recipe.sections import Recipe, as_spec
from mbert_cli.recipe.shipped import shipped_folder, shipped_names

_SECONDS = 20  # the limit also holds for a megabyte of YAML
_DIGITS = "9" * 5000
_ODD_TEXT = [
    *" \t\n\r:,[]{}&*!|>'\"%@`#-?<~$.\\0e_=é\u2028\x85\ufeff\x07\0\ud800\U0001f642",
    "\t\t",
    "\n\n",
    ": ",
    "- ",
    "---\n",
    "...\n",
    "%YAML 9.9\n---\n",
    "&a ",
    "*a ",
    "&a {b: *a}",
    "<<: *a\n",
    "<<: {epochs: 3}\n",
    "<<: [3]\n",
    "? [a]\n: b\n",
    "!!python/object/apply:os.system ['true']",
    "!!python/name:os.system ",
    "!!binary aGk=",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!timestamp 2001-01-01",
    "!!int ",
    "!!float ",
    "!!null ",
    "!custom ",
    "extends: r.yaml\n",
    "extends: ../nowhere.yaml\n",
    "${HOME}",
    "${UNSET_BY_ANYBODY}",
    "~nobody-of-that-name/",
    "{" * 30,
    "[" * 2000,
    "a: " * 30,
]
# YAML source, because tags and escapes make values that JSON cannot express.
_ODD_VALUES = [
    *(
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "-0.0",
        "1e400",
        "-1e400",
        ".nan",
        ".inf",
        "1e-5",
        "'1e-5'",
        "08",
        "0x10",
        "1_0",
    ),
    *("''", "' '", "x", "'a b'", "demo", "[]", "{}", "[[]]", "[null]", "[1, x]", "{kind: 3}", "{kind: top}", "{a: 1}"),
    *("[a, b, c]", "[a, a]", "[low, high]", "{kind: [x]}", "top", "mean", "hybrid", "classification", "../..", "/"),
    *(
        '"\\0"',
        '"a\\0b"',
        '"~a\\0b"',
        '"\\n"',
        '"\\ud800"',
        '"a\\udfffb"',
        '"\\u2028"',
        '"\\x1b[2J"',
        "é日本",
        "[x]" * 3,
    ),
    *("!!binary aGk=", "!!timestamp 2001-01-01", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!int 0x10"),
    *("!!python/object/apply:os.system ['true']", "!!str 12", "!!float x", "!!int " + "0x" + "f" * 9000, "!!bool x"),
    *(_DIGITS, f"-{_DIGITS[:400]}", f"{_DIGITS[:400]}.5", f"1{'0' * 4200}", "9223372036854775808", "100000", "999999"),
    *("5%", "1.13x", "2M", "0%", "1e9%", f"{_DIGITS}x", "x" * 5000, "[" * 15 + "]" * 15, "{a: " * 25 + "1" + "}" * 25),
    *(
        "${HOME}",
        "${UNSET_BY_ANYBODY}",
        "${UNSET_BY_ANYBODY:-x}",
        "~",
        "~nobody-of-that-name/x",
        "package:x/../..",
        "10min",
    ),
    *("0min", "sts.pearson", "&a [*a]", "&a {b: *a}", "*nowhere", "[&a 1, *a]", "{<<: {kind: top}}", "{<<: 3}"),
]


def _typo(rng: random.Random, word: str) -> str:
    at = rng.randrange(len(word) + 1)
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz_-. 0é")
    return rng.choice(
        [word[:at] + word[at + 1 :], word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :], word.title()]
    )


def _other_text(rng: random.Random, text: str) -> str:
    """Return a text with one piece of damage."""
    at = rng.randrange(len(text) + 1)
    lines = text.splitlines(keepends=True) or [""]
    line = rng.randrange(len(lines))
    word = rng.choice(list(re.finditer(r"\w+", text)) or [re.match("", text)])
    key = re.match(r"[^:]*:", lines[line])
    head, middle, tail = lines[:line], lines[line], lines[line + 1 :]
    changes: list[Callable[[], str]] = [
        lambda: text[:at] + text[at + rng.choice([1, 1, 5]) :],
        lambda: text[:at] + rng.choice(_ODD_TEXT) + text[at:],
        lambda: text[:at] + rng.choice(_ODD_TEXT) + text[at:],
        lambda: text[:at],
        lambda: "".join([*head, *tail]),
        lambda: "".join([*head, middle, middle, *tail]),
        lambda: "".join([*head, *rng.sample(tail, len(tail)), middle]),
        lambda: "".join([*head, " " * rng.randint(1, 4), middle, *tail]),
        lambda: "".join([*head, middle.lstrip(), *tail]),
        lambda: text[: word.start()] + _typo(rng, word.group()) + text[word.end() :] if word else text,
        lambda: text[: word.start()] + _typo(rng, word.group()) + text[word.end() :] if word else text,
        lambda: text[: word.start()] + rng.choice(_ODD_VALUES) + text[word.end() :] if word else text,
        lambda: "".join([*head, f"{key.group()} {rng.choice(_ODD_VALUES)}\n", *tail]) if key else text,
        lambda: "".join([*head, f"{key.group()} {rng.choice(_ODD_VALUES)}\n", *tail]) if key else text,
        lambda: text.replace("\n", rng.choice(["\r\n", "\r", "\n\n", "\u2028"])),
        lambda: text + f"{rng.choice(['training', 'tasks', 'extends', 'x'])}: {rng.choice(_ODD_VALUES)}\n",
    ]
    return rng.choice(changes)()


def _paths(values: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        found += _paths(value, (*path, key))
    return found


class _AsWritten(str):
    """YAML source that is inserted without quoting."""


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, _AsWritten):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)


def _other_values(rng: random.Random, text: str) -> str:
    """Return a recipe in which one value or one key is changed."""
    values = yaml.safe_load(text)
    *above, last = rng.choice(_paths(values))
    place = values
    for part in above:
        place = place[part]
    if isinstance(last, str) and rng.random() < 0.2:
        place[_typo(rng, last)] = place.pop(last)
    elif rng.random() < 0.2:
        del place[last]
    else:
        place[last] = _AsWritten(rng.choice(_ODD_VALUES))
    return "".join(f"{json.dumps(key)}: {_flow(value)}\n" for key, value in values.items())


def _override(rng: random.Random, text: str) -> str:
    path = rng.choice(_paths(yaml.safe_load(text)))
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    if rng.random() < 0.3:
        key = _typo(rng, key)
    value = rng.choice(_ODD_VALUES) if rng.random() < 0.8 else rng.choice(_ODD_TEXT)
    return f"{key}{rng.choice(['=', '=', '=', '=', '', ' = ', '=='])}{value}"


def _loads_or_is_refused(rng: random.Random, folder: Path) -> None:
    recipes = folder / "recipes"
    shutil.copytree(shipped_folder(), recipes, ignore=shutil.ignore_patterns("*.tsv"))
    shutil.copy(recipe_of(folder), recipes / "tiny.yaml")
    name = rng.choice(["tiny", "tiny", *shipped_names()])
    path = recipes / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    settings = [_override(rng, text) for _ in range(rng.choice([0, 0, 1, 2]))]
    if rng.random() < 0.4:
        text = _other_values(rng, text)
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        text = _other_text(rng, text)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    loaded: list[Recipe] = []
    error = refusal(lambda: loaded.append(load_recipe(str(path), settings)), _SECONDS)
    if error is not None:
        for problem in error.problems:
            _check_place(problem, recipes, settings)
        return
    # The recipe that is written into the run folder must be equal.
    again = folder / "again.yaml"
    again.write_text(loaded[0].to_yaml(), encoding="utf-8")
    error = refusal(lambda: loaded.append(load_recipe(str(again))), _SECONDS)
    check(error is None, f"the written recipe is rejected: {error}")
    check(as_spec(loaded[0]) == as_spec(loaded[1]), "the written recipe differs from the original")


def _check_place(problem: str, recipes: Path, settings: list[str]) -> None:
    """Check that a problem is one line that begins with a recipe file, with or without a line, or an override."""
    check(one_line(problem) == problem, f"is not a printable line: {problem[:300]!r}")
    if any(re.match(rf"'{re.escape(one_line(each))}'(:\d+)*: ", problem) for each in settings):
        return
    found = re.match(rf"({re.escape(str(recipes))}/\S*?\.yaml)(?::(\d+))?(?::\d+)?: ", problem)
    check(found is not None, f"has no place: {problem[:300]}")
    assert found is not None
    text = Path(found[1]).read_text(encoding="utf-8", errors="replace")
    lines = len(re.findall("\r\n|[\r\n\x85\u2028\u2029]", text)) + 1  # as YAML counts them
    check(found[2] is None or 1 <= int(found[2]) <= lines, f"names a line after the end of the file: {problem[:300]}")


mutated_recipes = Experiment(
    10,
    "a recipe with random damage in text, values or overrides: it loads, or exit code 2 with file:line or the override",
    5_000,
    200,
    _loads_or_is_refused,
)
