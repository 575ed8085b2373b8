import json
import os
import subprocess
import sys

import pytest

from mbert_cli.data.hub import dataset_files, is_well_formed
from mbert_cli.errors import DataError

pytest.importorskip("pyarrow")


@pytest.fixture
def mirror(tmp_path):
    """The cache of the Hub's library after a download: two shards of one split, and another split."""
    import pyarrow
    from pyarrow.parquet import write_table

    cache = tmp_path / "cache"
    own = cache / "datasets--me--moods"
    (own / "refs" / "refs" / "convert").mkdir(parents=True)
    (own / "refs" / "refs" / "convert" / "parquet").write_text("0" * 40)
    root = own / "snapshots" / ("0" * 40)
    for name, first, count in (("train/0000", 0, 12), ("train/0001", 12, 8), ("validation/0000", 20, 6)):
        path = root / "default" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = range(first, first + count)
        write_table(pyarrow.table({"text": [f"cat dog {i}" for i in rows], "label": [i % 2 for i in rows]}), path)
    return cache


def read(cache, name):
    """Read a table in another process, because the library reads the place of its cache when it is imported."""
    code = (
        "import json, sys; from mbert_cli.data.table import Table; from mbert_cli.errors import MbertError\n"
        "try:\n"
        "    with Table(sys.argv[1]) as table: print(json.dumps([table.header, *[row.cells for row in table]]))\n"
        "except MbertError as error: print(json.dumps(str(error)))"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["hub:me/moods#train", "hub:me/moods/default#train"])
def test_a_split_is_read_from_all_its_files_in_order(mirror, name):
    assert read(mirror, name) == [["text", "label"], *[[f"cat dog {i}", str(i % 2)] for i in range(20)]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hub:me/moods#trian", "there is no split 'trian'; did you mean 'train'? Known: train, validation."),
        ("hub:me/moods/defualt#train", "there is no configuration 'defualt'; did you mean 'default'?"),
        (
            "hub:me/other#train",
            "is not in the local hub cache, and --offline (HF_HUB_OFFLINE) disables the network; remove it.",
        ),
        ("hub:moods", "must have the form hub:OWNER/NAME#SPLIT, or hub:OWNER/NAME/CONFIG#SPLIT."),
    ],
)
def test_a_missing_data_set_or_split_is_reported(mirror, name, message):
    error = read(mirror, name)
    assert error.startswith(f"{name}: ")
    assert message in error


def test_names_are_checked_before_a_download():
    assert is_well_formed("hub:me/moods/plain_text#train")
    assert not any(
        map(is_well_formed, ["hub:moods#train", "hub:me/moods", "hub:me/a/b/c#train", "hub:me/../x#train/y"])
    )
    with pytest.raises(DataError):
        dataset_files("hub:moods#train")


def test_a_recipe_trains_on_data_sets_of_the_hub(mirror, tiny_checkpoint, tmp_path):
    recipe = {
        "encoder": {"checkpoint": str(tiny_checkpoint)},
        "tasks": {
            "mood": {
                "train": "hub:me/moods#train",
                "dev": "hub:me/moods#validation",
                "text": "text",
                "label": "label",
                "head": {"kind": "classification", "num_classes": 2},
            }
        },
        "training": {"epochs": 1, "batch_size": 8, "max_length": 16},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    environment = {**os.environ, "HF_HUB_CACHE": str(mirror), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "mbert_cli.cli", "train", "r.yaml", "-o", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "mood: 20 train and 6 dev rows" in done.stderr
    assert "hub:me/moods#validation" in (tmp_path / "run" / "evaluation" / "metrics.json").read_text()
