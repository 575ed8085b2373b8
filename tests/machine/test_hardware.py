"""The choice of kernels, and how fused kernels are compiled and cached."""

import importlib.util
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from mbert_cli.commands.app import app
from mbert_cli.encoder import kernels
from mbert_cli.errors import UsageError
from mbert_cli.machine.facts import as_rows, facts
from mbert_cli.machine.hardware import Hardware, choose, make_reproducible

SOURCE = """
from numba import prange
from mbert_cli.encoder.kernels.compiling import compiled

@compiled
def twice(values):
    for index in prange(len(values)):
        values[index] *= 2
"""


@pytest.fixture
def without_numba(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)


def test_fused_kernels_are_chosen_if_numba_is_installed():
    pytest.importorskip("numba")
    assert choose("cpu").kernels == choose("cpu", kernels="fused").kernels == "fused"
    assert choose("cpu", kernels="torch").kernels == "torch"
    assert facts()["kernels"] == "fused"


def test_without_numba_the_default_is_torch_and_fused_is_rejected(without_numba):
    assert choose("cpu").kernels == "torch"
    assert facts()["kernels"].startswith(
        "torch; fused kernels are not available: they need the package numba (pip install"
    )
    with pytest.raises(UsageError, match=r"--kernels is 'fused', but they need .*\[fast\].*; use --kernels auto"):
        choose("cpu", kernels="fused")


def test_other_devices_have_no_fused_kernels():
    reason = kernels.why_not_fused(torch.device("mps"))
    assert reason == "they run on CPUs and NVIDIA GPUs only, and the device is mps"


class TestKernelsOfAGpu:
    """The machine has a made-up GPU of compute capability 9.0, Triton, a C compiler and the header files of Python."""

    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch):
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        monkeypatch.setattr(kernels, "find_spec", lambda name: name == "triton")
        monkeypatch.setattr(kernels.shutil, "which", lambda name: "/usr/bin/gcc" if name == "gcc" else None)
        monkeypatch.setattr(kernels.os.path, "isfile", lambda path: str(path).endswith("Python.h"))
        monkeypatch.delenv("CC", raising=False)

    def reason(self):
        return kernels.why_not_fused(torch.device("cuda"))

    def test_they_are_available(self):
        assert self.reason() is None

    def test_they_run_on_the_gpu_of_the_tensors(self):
        current, gpu = [], torch.device("cuda:1")
        self.monkeypatch.setattr(torch.cuda, "device", lambda device: current.append(device) or nullcontext())
        with kernels.using("fused", gpu):
            assert kernels._chosen.get() == "triton"
            assert current == [gpu]
        with kernels.using("torch", gpu):
            assert kernels._chosen.get() == "torch"

    def test_an_old_gpu_has_none(self):
        self.monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
        assert self.reason() == "they need a GPU with compute capability 8.0 or higher, and this one has 7.5"

    def test_a_gpu_of_amd_has_none(self):
        self.monkeypatch.setattr(torch.version, "hip", "7.0")
        assert self.reason() == "they run on CPUs and NVIDIA GPUs only, and this PyTorch is for AMD GPUs"

    def test_triton_must_be_installed(self):
        self.monkeypatch.setattr(kernels, "find_spec", lambda name: None)
        assert self.reason() == "they need the package triton, which PyTorch's CUDA wheels for Linux install"

    def test_a_c_compiler_is_needed(self):
        self.monkeypatch.setattr(kernels.shutil, "which", lambda name: None)
        assert self.reason() == "Triton needs a C compiler; install gcc, or set CC"
        self.monkeypatch.setenv("CC", "/opt/cc")
        assert self.reason() is None

    def test_the_header_files_of_python_are_needed(self):
        self.monkeypatch.setattr(kernels.os.path, "isfile", lambda path: False)
        assert self.reason() == "Triton needs the header files of Python; install python3-dev"


def test_unknown_kernels_are_rejected():
    with pytest.raises(UsageError, match=r"--kernels is 'fussed'. Known: auto, torch, fused."):
        choose("cpu", kernels="fussed")


def test_facts_of_a_cpu():
    of_cpu = facts()["devices"]["cpu"]
    assert set(of_cpu) == {"kernels", "precision", "int8", "dropout", "flash attention", "graphs"}
    assert of_cpu["flash attention"] == "not used: it runs on GPUs only"
    assert of_cpu["precision"].split(";")[0] == choose("cpu").precision
    assert as_rows(facts())["cpu: kernels"] == of_cpu["kernels"]


@pytest.mark.parametrize(
    ("capability", "triton", "expected"),
    [
        (
            (9, 0),
            True,
            {
                "kernels": "fused (Triton)",
                "precision": "bf16",
                "flash attention": "in bf16 and without dropout, where the fused kernels do not compute attention: "
                "rotary positions, heads above 64 features",
            },
        ),
        (
            (9, 0),
            False,
            {
                "kernels": "torch; fused kernels are not available: they need the package triton, which PyTorch's CUDA "
                "wheels for Linux install",
                "flash attention": "in bf16 and without dropout; with dropout, attention is computed by PyTorch's "
                "other operations",
            },
        ),
        (
            (7, 5),
            True,
            {
                "kernels": "torch; fused kernels are not available: they need a GPU with compute capability 8.0 or "
                "higher, and this one has 7.5",
                "precision": "fp32; bf16 needs compute capability 8.0 or higher",
                "flash attention": "not used: it needs compute capability 8.0 or higher",
            },
        ),
    ],
)
def test_facts_of_a_gpu_give_the_reason_for_what_is_not_used(monkeypatch, capability, triton, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(kernels, "find_spec", lambda name: triton)
    monkeypatch.setattr(kernels.shutil, "which", lambda name: "/usr/bin/gcc")
    monkeypatch.setattr(kernels.os.path, "isfile", lambda path: True)
    values = facts()
    assert list(values["devices"]) == ["cpu", "cuda:0", "cuda:1"]
    assert expected.items() <= values["devices"]["cuda:1"].items()


def test_warming_up_without_fused_kernels_is_refused(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="--warm-up: kernels are torch; fused kernels are not available: they need"):
        app(["info", "--warm-up"], standalone_mode=False)


def test_warming_up_compiles_for_the_cpu_and_the_gpu(monkeypatch, capsys):
    devices = {"cpu": {"kernels": "fused (Numba)"}, "cuda:0": {"kernels": "fused (Triton)"}}
    values = {"kernels": "fused", "device": "cuda", "devices": devices}
    compiled = []
    monkeypatch.setattr("mbert_cli.machine.facts.facts", lambda: values)
    monkeypatch.setattr("mbert_cli.machine.warm_up.compile_kernels", lambda: compiled.append("cpu"))
    monkeypatch.setattr("mbert_cli.machine.warm_up_gpu.compile_for", lambda device: compiled.append(str(device)))
    app(["info", "--warm-up", "-q"], standalone_mode=False)
    assert compiled == ["cpu", "cuda"]
    assert "cuda:0: kernels" in capsys.readouterr().out


@pytest.mark.parametrize(("fast", "expected"), [(True, [torch.float32, torch.bfloat16]), (False, [torch.float32])])
def test_warming_up_compiles_for_bf16_only_if_the_cpu_has_instructions_for_it(monkeypatch, fast, expected):
    from mbert_cli.machine import warm_up

    monkeypatch.setattr("mbert_cli.encoder.kernels.bf16_products._are_fast", lambda: fast)
    assert warm_up.dtypes() == expected


@pytest.mark.gpu
def test_warming_up_computes_on_the_gpu():
    from mbert_cli.machine.warm_up_gpu import compile_for

    compile_for(torch.device("cuda"))


@pytest.mark.parametrize(("device", "expected"), [("cuda:0", "fp32"), ("cuda:1", "bf16")])
def test_the_precision_is_that_of_the_chosen_gpu(monkeypatch, device, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5) if device.index == 0 else (9, 0))
    assert choose(device).precision == expected


def test_the_threads_of_the_cpu_are_no_fact_of_a_result_of_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert "threads" not in Hardware(torch.device("cuda"), torch.bfloat16).facts()
    assert "threads" in Hardware(torch.device("cpu"), torch.bfloat16).facts()


def test_a_reproducible_computation_runs_on_the_chosen_gpu(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode: chosen.append("deterministic"))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    make_reproducible(torch.device("cuda:1"))
    assert chosen == [torch.device("cuda:1"), "deterministic"]


class TestCompiling:
    @pytest.fixture(autouse=True)
    def place(self, tmp_path, caplog):
        pytest.importorskip("numba")
        self.folder = tmp_path
        self.caplog = caplog
        caplog.set_level("INFO", logger="mbert_cli")
        (tmp_path / "loops.py").write_text(SOURCE, encoding="utf-8")

    def twice(self, monkeypatch):
        """Import the loop again, as another process would, and call it; return the log messages."""
        from mbert_cli.encoder.kernels import compiling

        compiling._report.cache_clear()
        self.caplog.clear()
        spec = importlib.util.spec_from_file_location("loops", self.folder / "loops.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "loops", module)
        spec.loader.exec_module(module)
        values = torch.arange(4.0)
        module.twice(values.numpy())
        assert values.tolist() == [0, 2, 4, 6]
        return self.caplog.messages.copy()

    def test_compiling_is_logged_once_and_cached(self, monkeypatch):
        (message,) = self.twice(monkeypatch)
        assert message == (
            "compiling the fused kernels for this processor; this takes up to two minutes; the result is cached"
        )
        assert self.twice(monkeypatch) == []

    def test_damaged_files_are_compiled_again(self, monkeypatch):
        self.twice(monkeypatch)
        kept = list(self.folder.rglob("*.nb*"))
        assert kept
        for path in kept:
            path.write_bytes(path.read_bytes()[:-7])
        assert len(self.twice(monkeypatch)) == 1

    def test_changed_sources_are_compiled_again(self, monkeypatch):
        from mbert_cli.encoder.kernels import compiling

        self.twice(monkeypatch)
        monkeypatch.setattr(compiling, "_SOURCES", "others")
        assert len(self.twice(monkeypatch)) == 1

    def test_a_full_disk_caches_nothing(self, monkeypatch):
        from numba.core.caching import FunctionCache

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(FunctionCache, "save_overload", full)
        assert len(self.twice(monkeypatch)) == 1
        assert len(self.twice(monkeypatch)) == 1

    def test_without_a_writable_folder_nothing_is_cached(self, monkeypatch):
        from mbert_cli.encoder.kernels import compiling

        def refuse(*_):
            raise RuntimeError("cannot cache function: no locator available")

        monkeypatch.setattr(compiling, "_Cache", refuse)
        (message,) = self.twice(monkeypatch)
        assert "not cached" in message
        assert "NUMBA_CACHE_DIR" in message


WARM_UP = """
import importlib, pkgutil
import numba
from mbert_cli.encoder.kernels import compiling

class Loop:
    def __init__(self, function):
        self.name, self.signatures = function.__name__, set()
    def __call__(self, *arguments):
        self.signatures.add(tuple(map(numba.typeof, arguments)))

compiling.compiled = Loop

from mbert_cli.encoder import kernels
from mbert_cli.encoder.kernels import bf16_products
from mbert_cli.machine.warm_up import compile_kernels

bf16_products._are_fast = lambda: True
compile_kernels()
for name in [each.name for each in pkgutil.iter_modules(kernels.__path__) if each.name.endswith("_loops")]:
    for function in vars(importlib.import_module(f"mbert_cli.encoder.kernels.{name}")).values():
        if isinstance(function, Loop):
            print(function.name, len(function.signatures))
"""


def test_warming_up_calls_every_loop():
    """Counts the types with which each loop is called, without compiling it: the tests of the kernels do that.

    Runs in a separate process, because other tests have imported the loops in this one.
    """
    pytest.importorskip("numba")
    from mbert_cli.encoder.kernels import int8_tile

    done = subprocess.run([sys.executable, "-c", WARM_UP], capture_output=True, text=True, check=True)
    signatures = {name: int(count) for name, count in (line.split() for line in done.stdout.splitlines())}
    both = {
        "attention", "attention_backward", "add_gelu_backward", "add_norm", "add_norm_backward", "add_drop",
        "add_drop_backward", "turn", "add_gate", "add_gate_backward", "dequantise", "norm_rows", "quantise",
        "mean_rows", "mean_rows_backward",
    }  # fmt: skip
    once = {
        "add_of_segments", "add_of_segments_backward", "add_gelu", "add_gelu_roughly", "add_embeddings", "add_rows",
        "replay", "update", "widen",
    }  # fmt: skip
    # The processor decides which loops an int8 product uses.
    in_blocks, whole = {"multiply_norm", "multiply_attention"}, {"gate_rows", "gelu_rows"}
    assert set(signatures) == both | once | in_blocks | whole
    unused = whole if int8_tile.IS_SUPPORTED else in_blocks
    assert {name for name, count in signatures.items() if count < (2 if name in both else 1)} == unused


@pytest.mark.skipif(os.cpu_count() == 1, reason="there is only one thread")
def test_fused_kernels_do_not_change_the_number_of_threads_of_pytorch():
    code = (
        "import torch; from mbert_cli.encoder.kernels import gelu_loops; import numba\n"
        "print(torch.get_num_threads(), numba.get_num_threads())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1 1\n"
