"""Commands on local files under an audit hook: no sockets, no imports from folders of recipes, checkpoints or runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import audited
from damaged_checkpoints import trained_run
from experiment import Chance, Experiment, check
from processes import HARDWARE, recipe_of

_DECOYS = [
    "__init__",
    "json",
    "modeling_bert",
    "mbert_cli",
    "numpy",
    "sitecustomize",
    "tokenization_bert",
    "tokenizer",
    "torch",
    "transformers",
    "usercustomize",
    "yaml",
]
_AUTO_MAP = {
    "AutoConfig": "modeling_bert.Config",
    "AutoModel": "modeling_bert.Model",
    "AutoTokenizer": ["tokenization_bert.Own", "tokenization_bert.Own"],
}


def _write_decoys(folder: Path, canary: Path) -> None:
    for name in _DECOYS:
        (folder / f"{name}.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Own: ...\n")
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if path.exists() or name == "tokenizer_config.json":
            content = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps({**content, "auto_map": _AUTO_MAP}))


def _only_vocabulary(checkpoint: Path) -> None:
    """Replace the tokenizer by its vocabulary, as in checkpoints from before 2020."""
    words = json.loads((checkpoint / "tokenizer.json").read_text())["model"]["vocab"]
    (checkpoint / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(words, key=words.get)))
    (checkpoint / "tokenizer.json").unlink()


def _audited(rng: Chance, folder: Path) -> None:
    tiny = shutil.copytree(recipe_of(folder).parent, folder / "tiny")
    if rng.index % 2:
        _only_vocabulary(tiny / "checkpoint")
    run, canary = folder / "run", folder / "canary"
    # The folder of a run that exists before the first import.
    old = shutil.copytree(trained_run(folder), folder / "old")
    places = [tiny, tiny / "checkpoint", tiny / "files", old]
    for place in places:
        _write_decoys(place, canary)
    commands = [
        ["train", "recipe.yaml", "-o", str(run), *HARDWARE],
        ["evaluate", str(run), "-o", str(folder / "evaluation"), *HARDWARE],
        ["evaluate", str(old), *HARDWARE],
        ["predict", str(run), str(tiny / "files" / "same-dev.tsv"), "-o", str(folder / "out.tsv"), *HARDWARE],
        ["predict", str(old), str(tiny / "files" / "mood-dev.tsv"), "-t", "mood", *HARDWARE],
        ["count-params", "recipe.yaml"],
        ["report", str(run), str(old)],
        ["recipes", "cat", "recipe.yaml", "--resolved"],
    ]
    (folder / "commands.json").write_text(json.dumps(commands))
    shutil.copy(tiny / "recipe.yaml", tiny / "checkpoint" / "recipe.yaml")
    shutil.copytree(tiny / "checkpoint", tiny / "checkpoint" / "checkpoint")
    shutil.copytree(tiny / "files", tiny / "checkpoint" / "files")
    words = [folder / "commands.json", folder / "report.json", *places, run]
    done = subprocess.run(
        [sys.executable, "-P", audited.__file__, *map(str, words)],
        cwd=rng.choice([tiny, tiny / "checkpoint"]),
        env={key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"},
        capture_output=True,
        text=True,
    )
    check(done.returncode == 0, done.stderr[-2000:])
    found = json.loads((folder / "report.json").read_text())
    check(found == [], f"{len(found)} forbidden events, such as {found[:5]}")
    check(not canary.exists(), "a decoy was imported")


no_network = Experiment(
    19,
    "train, evaluate, predict, count-params and report in folders with planted Python modules: none is imported, "
    "no socket is opened",
    6,
    2,
    _audited,
)
