"""The number of operations that a small batch of a prediction launches."""

import sys
from pathlib import Path

import pytest
import tiny
from cpu_graphs import gpu_predictions
from random_models import untrained

from mbert_cli.data.batching import tokenise_texts
from mbert_cli.machine.hardware import choose
from mbert_cli.prediction.outputs import Outputs

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from count_operations import operations_of

pytest.importorskip("numba")
JOINED_AND_PUT_IN_ORDER = {"cat": 1, "empty_like": 1, "index_copy_": 1}
"""The results of the batches of a call. The last two are on the CPU."""


@pytest.mark.parametrize("layers", [1, 3])
def test_a_replayed_batch_has_nine_operations(tiny_files, tmp_path, layers):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    checkpoint = tiny.write_checkpoint(tmp_path / "encoder", **sizes, num_hidden_layers=layers)
    saved = untrained(tiny.write_recipe(tmp_path / "recipe.yaml", checkpoint, tiny_files), "adapters=[]")
    data = tokenise_texts(saved.tokenizer, [["a cat", "a dog on a street"]], ("whole",), symmetric=False)

    def outputs_with(kernels):
        hardware = choose("cpu", "bf16", kernels)
        saved.model.compute_with(hardware.dtype, hardware.kernels)
        return Outputs(saved.model, hardware, fold=False)

    eager = operations_of(outputs_with("fused"), "mood", data)
    with gpu_predictions() as graphs:
        replayed = operations_of(outputs_with("torch"), "mood", data, *graphs)
    # Four linear layers, and one of the head. On a GPU, kernels of Triton come in addition.
    assert dict(eager.counts) == {"mm": 4 * layers, "addmm": 1, **JOINED_AND_PUT_IN_ORDER}
    # Dummy texts, on the CPU; one copy to the GPU; the graph; one copy of the result.
    once = {"index_select": 3, "copy_": 1, "replayed graph": 1, "clone": 1}
    assert dict(replayed.counts) == {**once, **JOINED_AND_PUT_IN_ORDER}
