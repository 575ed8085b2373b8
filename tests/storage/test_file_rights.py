"""Every file that a command writes has the permissions of the umask, whichever library wrote it."""

import importlib.util
import os
import stat

import pytest

from mbert_cli.cli import app

QUICK = ["--device", "cpu", "--precision", "fp32", "-q"]
ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript"))


@pytest.fixture(params=[0o022, 0o027, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_all_files_and_folders_of_all_commands_have_the_permissions_of_the_umask(
    umask, tiny_recipe, tiny_files, tmp_path, monkeypatch
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    train, dev = str(tiny_files / "mood-train.tsv"), str(tiny_files / "mood-dev.tsv")
    small = ["training.epochs=1", "training.members=2", "curriculum=simultaneous"]
    commands = [
        ["train", str(tiny_recipe), "-o", "run", *small, *QUICK],
        ["predict", "run", dev, "-t", "mood", "-o", "predicted.tsv", *QUICK],
        ["predict", "run", dev, "-t", "mood", "-o", "predicted.tsv.gz", *QUICK],
        ["embed", "run/members/1", dev, "-t", "mood", "-o", "vectors.npy", *QUICK],
        ["init", train, dev, "-o", "recipe.yaml"],
        ["recipes", "cp", "demo", "demo.yaml"],
    ]
    if umask == 0o027:  # slow commands, once
        commands.append(["evaluate", "run", "-o", "evaluated", "--calibrate", *QUICK])
        commands.append(["report", "run", "-o", "report.html"])
        if ONNX:
            commands.append(["export", "run/members/1", "-t", "mood", "-o", "exported", "-q"])
    for words in commands:
        app(words, standalone_mode=False)
    rights = {path.relative_to(here).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in here.rglob("*")}
    assert {"run/model/members/1/tasks/mood.safetensors", "predicted.tsv", "vectors.npy"} <= set(rights)
    folders = {name for name in rights if (here / name).is_dir()}
    wrong = {name: oct(mode) for name, mode in rights.items() if mode != (0o777 if name in folders else 0o666) & ~umask}
    assert not wrong
