"""`PredictBatch` and `EmbedBatch`, without Ray."""

import numpy as np
import pytest
import tiny

from mbert_cli.cli import app
from mbert_cli.errors import DataError, MbertError
from mbert_cli.ray import EmbedBatch, PredictBatch


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("batches")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "-q"], standalone_mode=False)
    return folder / "run"


def test_batches_name_their_mistakes(run):
    predict = PredictBatch(run, precision="fp32")
    batch = {"text": np.array(["a cat"], object), "one": np.array(["a"], object), "two": np.array(["b"], object)}
    names = [name for name in predict(batch) if name not in batch]
    assert {name.partition("_")[0] for name in names} == {"mood", "same", "near"}
    with pytest.raises(DataError, match="'text'"):
        PredictBatch(run, "mood")({"words": np.array(["a cat"], object)})
    with pytest.raises(DataError, match="already has a column 'pred'"):
        PredictBatch(run, "mood")({"text": np.array(["a"], object), "pred": np.array([1])})
    with pytest.raises(MbertError, match="moood"):
        PredictBatch(run, "moood")
    with pytest.raises(DataError, match="no column 'title'"):
        EmbedBatch(run, "mood", text="title")({"text": np.array(["a"], object)})
