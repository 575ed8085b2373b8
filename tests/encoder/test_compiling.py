"""Compiled loops come from Numba's cache in the next process. The cache uses private names of Numba."""

import os
import subprocess
import sys

import numpy as np
import pytest

numba = pytest.importorskip("numba")

LOOPS = """
from numba import prange

from mbert_cli.encoder.kernels.compiling import compiled


@compiled
def double(x):
    for i in prange(len(x)):
        x[i] *= 2
"""
SECOND_PROCESS = """
import numpy as np
from loops import double

x = np.ones(3, np.float32)
double(x)
print(x.tolist(), *(sum(each.values()) for each in (double.stats.cache_hits, double.stats.cache_misses)))
"""


def test_a_second_process_compiles_nothing(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    (tmp_path / "loops.py").write_text(LOOPS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(cache))
    from loops import double

    def files():
        return {path.name for path in cache.rglob("*") if path.is_file()}

    double(np.ones(3, np.float32))
    assert [sum(each.values()) for each in (double.stats.cache_hits, double.stats.cache_misses)] == [0, 1]
    compiled = files()
    assert {name.rpartition(".")[2] for name in compiled} == {"nbi", "nbc"}
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SECOND_PROCESS]
    second = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert second.stdout.split() == ["[2.0,", "2.0,", "2.0]", "1", "0"], second.stderr
    assert files() == compiled
