import commands
import pytest
from tiny_runs import options

from mbert_cli.model.components import load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import fit

# Two threads: those of OpenMP start with the first prediction, and do not exist in the child.
PROGRAM = """
import os, signal, sys
import torch
from mbert_cli import Predictor
from mbert_cli.errors import UsageError

def predict():
    return predictor({"text": ["the cat sat", "a dog"] * 500}, task="mood")["p_low"]

torch.set_num_threads(2)
predictor = Predictor("run", device="cpu", precision="fp32", kernels=sys.argv[1])
before = predict()
assert torch.get_num_threads() == 2
child = os.fork()
if not child:
    signal.alarm(60)  # ends a child that waits for ever
    assert max(abs(a - b) for a, b in zip(before, predict(), strict=True)) < 1e-5
    assert Predictor("run", device="cpu").hardware.kernels == "torch"
    try:
        Predictor("run", device="cpu", kernels="fused")
    except UsageError as error:
        print(error, flush=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert predict() == before
"""


@pytest.mark.parametrize("kernels", ["torch", "fused"])
def test_a_child_forked_after_a_prediction_predicts_the_same(kernels, tiny_recipe, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    recipe = load_recipe(str(tiny_recipe), ["training.epochs=1"])
    fit(recipe, RunFolder(folder), options())
    (tmp_path / "forking.py").write_text(PROGRAM)
    done = commands.program(tmp_path / "forking.py", kernels, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    refused, code = done.stdout.splitlines()
    assert code == "0"
    assert refused.startswith("--kernels is 'fused', but this process was forked from one that computed")
