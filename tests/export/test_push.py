import json
import os
import subprocess
import sys

import hub as stand_in
import pytest

from mbert_cli import Predictor
from mbert_cli.cli import app


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    folder = tmp_path_factory.mktemp("push")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "-q", "--precision", "fp32"], standalone_mode=False)
    return folder / "run"


@pytest.fixture
def hub():
    with stand_in.hub() as found:
        yield found


def push(run, hub, *words, **environment):
    """Run the command in a separate process, because the library reads the address when it is imported."""
    own = {"HF_ENDPOINT": hub.address, "HF_TOKEN": stand_in.TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-m", "mbert_cli.cli", "push", str(run), *words],
        capture_output=True,
        text=True,
        env={**os.environ, **own, **environment},
    )


def test_the_uploaded_files_are_a_model_that_predicts_the_same(run, hub, tmp_path):
    done = push(run, hub, "me/moods", "--private")
    assert done.returncode == 0, done.stderr
    assert "uploaded" in done.stderr
    assert f"{hub.address}/me/moods" in done.stderr
    assert hub.private == {"me/moods": True}
    files = hub.files["me/moods"]
    model = run / "model"
    for path in model.rglob("*"):
        name = path.relative_to(model).as_posix()
        if path.is_file() and name not in ("config.json", "manifest.json"):
            assert files[name] == path.read_bytes(), name
    for name, content in files.items():
        path = tmp_path / "there" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    rows = {"text": ["cat", "man runs"]}
    own, there = (Predictor(each, precision="fp32")(rows, "mood") for each in (run, tmp_path / "there"))
    assert own == there


def test_no_local_path_and_no_state_is_uploaded(run, hub, tiny_files):
    assert push(run, hub, "me/moods").returncode == 0
    files = hub.files["me/moods"]
    assert not [name for name in files if "state" in name or name.endswith(".tsv")]
    tasks = json.loads(files["config.json"])["tasks"]
    assert tasks["mood"]["train"] == "mood-train.tsv"
    assert str(tiny_files).encode() not in files["config.json"] + files["README.md"]


def test_a_dry_run_lists_the_files_and_sends_no_request(run, hub):
    done = push(run, hub, "me/moods", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "README.md" in done.stdout.splitlines()
    assert hub.requests == []


@pytest.mark.parametrize(
    ("words", "environment", "refuse", "message"),
    [
        (["me/mo ods"], {}, None, "is not a valid repository name"),
        (["me/moods"], {"HF_TOKEN": "hf_wrong"}, None, "cannot be uploaded to the Hub: it rejected the request (401"),
        (["me/moods"], {}, 403, "use a token that has access"),
        (
            ["me/moods", "--offline"],
            {},
            None,
            "cannot be uploaded, and --offline (HF_HUB_OFFLINE) disables",
        ),
        (["me/moods"], {"HF_ENDPOINT": "http://127.0.0.1:9"}, None, "cannot be uploaded to the Hub ("),
    ],
)
def test_refusals_of_the_hub_are_one_line_errors(run, hub, words, environment, refuse, message):
    hub.refuse = refuse
    done = push(run, hub, *words, **environment)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert hub.files == {}
