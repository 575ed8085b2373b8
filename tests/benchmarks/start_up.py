"""Where the CPU time of a small `mbert predict` goes, from the start of Python to the end of the process.

    python tests/benchmarks/start_up.py RUN INPUT [OPTION...] --rounds 5

Each round runs in a new process; the table shows medians. The time of a stage does not include the stages that run
within it: the import of a package does not include the imports of other packages. Other programs change CPU time less
than elapsed time. But they slow down the memory, and CPU time includes waiting for memory.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import machinery
from pathlib import Path
from typing import Any

STAGES = {
    "hashlib": {"file_digest": "SHA-256 of files"},
    "mbert_cli.encoder.kernels.compiling": {"_Cache.load_overload": "load compiled loops from the cache"},
    "mbert_cli.model.saved_model": {"load_encoder": "read the encoder", "Tokenizer": "read the tokenizer"},
    "mbert_cli.prediction.outputs": {"run_model": "compute"},
}
"""For each module, some of its functions, and the stage that counts the time of their calls."""
PACKAGES = ("torch", "numba", "llvmlite", "numpy", "scipy", "mbert_cli")
"""Packages whose imports are stages; all others together are one."""
FIRST, LAST, REST, TOTAL = "start Python", "end the process", "everything else", "all"


class Stages:
    """Adds up the CPU seconds of stages; a stage that starts within another one interrupts that.

    Args:
        clock: returns CPU seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._running = [REST]
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the seconds of a block for a stage."""
        self._count()
        self._running.append(name)
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls count for a stage."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return call

    def _count(self) -> None:
        now = self._clock()
        self.seconds[self._running[-1]] = self.seconds.get(self._running[-1], 0.0) + now - self._since
        self._since = now


def watch_imports(stages: Stages, functions: dict[str, dict[str, str]]) -> None:
    """Let the import of every module count for its package, and functions for their stages, named as in `STAGES`."""

    def watched(loader: Any) -> None:
        create, execute = loader.create_module, loader.exec_module

        def create_module(self: Any, spec: Any) -> Any:
            with stages.stage(_package(spec.name)):
                return create(self, spec)

        def exec_module(self: Any, module: Any) -> None:
            with stages.stage(_package(module.__name__)):
                execute(self, module)
            for path, name in functions.get(module.__name__, {}).items():
                *classes, last = path.split(".")
                owner = getattr(module, classes[0]) if classes else module
                setattr(owner, last, stages.timed(name, getattr(owner, last)))

        loader.create_module, loader.exec_module = create_module, exec_module

    for loader in (machinery.SourceFileLoader, machinery.ExtensionFileLoader):
        watched(loader)


def _package(module: str) -> str:
    package = module.partition(".")[0]
    return f"import {package}" if package in PACKAGES else "import other packages"


def measure_here(words: list[str], result: Path) -> None:
    """Run a command in this process, and write the seconds of its stages."""
    stages = Stages()
    with stages.stage(FIRST):
        pass
    stages.seconds[FIRST] = stages.seconds.pop(REST)
    watch_imports(stages, STAGES)
    from mbert_cli.cli import main

    sys.argv = ["mbert", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    with stages.stage(LAST):
        result.write_text(json.dumps({"stages": stages.seconds, "until": time.process_time()}), encoding="utf-8")


def measure(words: list[str], result: Path) -> dict[str, float]:
    """Run a command in a process of its own; return the CPU seconds of its stages, and of all."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--child", str(result), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = json.loads(result.read_text(encoding="utf-8"))
    return {**found["stages"], LAST: total - found["until"], TOTAL: total}


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each stage, the largest first; the last one is the median of all."""
    values = {name: statistics.median(each.get(name, 0.0) for each in rounds) for name in {*rounds[0], *rounds[-1]}}
    return dict(sorted(values.items(), key=lambda item: (item[0] == TOTAL, -item[1])))


def options_of(description: str | None, rounds: int) -> tuple[argparse.Namespace, list[str]]:
    """Return the options of a measurement of `mbert predict`, and the words that are options of `mbert predict`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("input")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path)
    return parser.parse_known_args()


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        measure_here(sys.argv[3:], Path(sys.argv[2]))
        return
    options, others = options_of(__doc__, rounds=5)
    words = ["predict", options.run, options.input, *others]
    result = Path(f"{options.input}.start-up.json")
    measure(words, result)  # fills the caches of the disk and of the compiled loops
    found = medians([measure(words, result) for _ in range(options.rounds)])
    result.unlink()
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, seconds in found.items():
        print(f"{seconds * 1000:7.0f} ms  {name}")


if __name__ == "__main__":
    main()
