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
    run.recipe_file.write_text("")
    with pytest.raises(CheckpointError, match="contains no model; no epoch of this run has been scored yet"):
        model_folder(run.path)
    commit_folder(run.model, write("x"))
    (run.model / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"model/manifest.json: is missing; copy the folder again"):
        model_folder(run.path)


@pytest.mark.parametrize("run", ["a", "runs/b"])
def test_a_folder_that_is_not_a_run_folder_is_reported_with_a_run_in_it(tmp_path, run):
    with pytest.raises(CheckpointError, match=r"is not a run folder: it has no recipe.yaml and no model/; mbert train"):
        model_folder(tmp_path)
    (tmp_path / run).mkdir(parents=True)
    (tmp_path / run / "recipe.yaml").write_text("")
    with pytest.raises(CheckpointError) as error:
        model_folder(tmp_path)
    assert str(error.value).endswith(f"no model/; did you mean {tmp_path / run}?")


def test_a_folder_of_several_runs_is_reported_with_their_names(tmp_path):
    runs = [tmp_path / name for name in "abcdefg"]
    for run in runs:
        run.mkdir()
        (run / "recipe.yaml").write_text("")
    with pytest.raises(CheckpointError) as error:
        model_folder(tmp_path)
    assert str(error.value).endswith(f"; give one of the runs in it: {', '.join(map(str, runs[:5]))} and 2 more.")
