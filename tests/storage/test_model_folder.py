import pytest

from mbert_cli.errors import CheckpointError
from mbert_cli.storage.atomic import (
    commit_folder,
)
from mbert_cli.storage.model_folder import model_folder
from mbert_cli.storage.run_folder import RunFolder


def write(text):
    return lambda folder: (folder / "a.txt").write_text(text)


def test_a_missing_manifest_and_a_missing_model_have_different_messages(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(CheckpointError, match="contains no model; no epoch of this run has been scored yet"):
        model_folder(run.path)
    commit_folder(run.model, write("x"))
    (run.model / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"model/manifest.json: is missing; copy the folder again"):
        model_folder(run.path)
