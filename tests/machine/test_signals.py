"""Signals while a library waits and does not return to Python. `training/test_resume.py` tests all other signals."""

import signal
import time

import commands
from torch.distributed import TCPStore


def test_a_signal_ends_a_process_that_waits_for_others(tmp_path):
    # A store without process 0, which process 1 waits for in PyTorch's code for up to 30 minutes.
    store = TCPStore("localhost", 0, world_size=2, is_master=True, wait_for_workers=False)
    where = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    ranks = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
    process = commands.start("train", "demo", "-o", "run", "--device", "cpu", cwd=tmp_path, **where, **ranks)
    try:
        limit = time.monotonic() + 100
        while store.num_keys() < 2 and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        time.sleep(0.2)
        process.terminate()
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.poll() == -signal.SIGTERM
    assert not (tmp_path / "run").exists()
