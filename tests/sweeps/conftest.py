import pytest
import stand_in
from sweeping import PLAN

from mbert_cli.machine import child_process as child_training


@pytest.fixture
def here(tiny_recipe, tmp_path, monkeypatch):
    """The working folder, with the tiny recipe and a plan; training runs are stand-ins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(child_training, "spawn", stand_in.Process)
    monkeypatch.setattr("mbert_cli.machine.process_pool._POLL_EVERY", 0)
    monkeypatch.setattr("mbert_cli.storage.atomic._sync", lambda path: None)  # slow
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    return tmp_path
