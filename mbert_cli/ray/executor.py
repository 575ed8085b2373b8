"""RayExecutor: the training runs of a sweep as tasks of a Ray cluster.

Must not import torch: fast start-up.
"""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mbert_cli.errors import LostProcessError, ResourceError
from mbert_cli.messages import one_line
from mbert_cli.ray.cluster import Workers
from mbert_cli.ray.train_task import train
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import in_use

_POLL_EVERY = 0.1  # seconds
_MAX_SAVING = 60.0  # seconds that a training may take to save its progress after its task was lost


class RayExecutor:
    """An `Executor` whose runs are tasks of the cluster with which this process is connected.

    Ray does not repeat a task: a run whose machine was lost is resumed by the next sweep.

    Args:
        workers: number of runs at the same time, and the CPUs and GPUs of each.
    """

    def __init__(self, workers: Workers) -> None:
        self.size = workers.count
        self.threads = workers.cpus
        self._gpus = workers.gpus

    def device_of(self, slot: int) -> str:
        """Return `cuda` or `cpu`. A task sees only the GPU that Ray has chosen for it."""
        return "cuda" if self._gpus else "cpu"

    def start(self, words: Sequence[str], threads: int | None, log: Path) -> "TaskProcess":
        """See `Executor.start`. All paths are absolute and on a disk that the machines share."""
        import ray

        task: Any = ray.remote(max_retries=0, num_cpus=self.threads, num_gpus=self._gpus)(train)
        folder = RunFolder(Path(words[words.index("-o") + 1]))
        return TaskProcess(task.remote(list(words), threads, str(log)), folder, log)


class TaskProcess:
    """The task of a training run, with the methods of a process; see `process_pool.Process`.

    Args:
        task: reference to the task.
        folder: the run folder.
        log: the log of the run.
    """

    def __init__(self, task: Any, folder: RunFolder, log: Path) -> None:
        self.returncode = 0
        self._task = task
        self._folder = folder
        self._log = log
        self._message = ""  # for the log
        self._until: float | None = None  # time when the run counts as ended; None while the task runs
        self._has_ended = False

    def poll(self) -> int | None:
        """Return the exit code of the training, or None if it has not ended.

        The code is 6 if Ray has lost the task, and 4 if Ray has ended it because its machine was out of memory. The
        training of such a task may still save its progress. Then the run ends when it has released the run folder.
        """
        import ray

        if self._has_ended:
            return self.returncode
        if self._until is None:
            if not ray.wait([self._task], timeout=0)[0]:
                return None
            self.returncode, self._message = self._result()
            is_lost = self.returncode == LostProcessError.exit_code
            self._until = time.monotonic() + (_MAX_SAVING if is_lost else 0)
        if time.monotonic() < self._until and in_use(self._folder):
            return None
        if self._message:
            with disk_errors(self._log), self._log.open("a", encoding="utf-8") as file:
                file.write(f"{self._message}\n")
        self._has_ended = True
        return self.returncode

    def wait(self) -> int:
        """Wait for the end of the training, and return its exit code."""
        while self.poll() is None:
            time.sleep(_POLL_EVERY)
        return self.returncode

    def send_signal(self, number: int, /) -> None:
        """Cancel the task: its training receives SIGTERM, whatever the signal is, and saves its progress."""
        import ray

        ray.cancel(self._task)

    def _result(self) -> tuple[int, str]:
        """Return the exit code of the training, and a line for its log if the training cannot have written it."""
        import ray
        from ray import exceptions

        try:
            code, message = ray.get(self._task)
            return code, message
        except exceptions.TaskCancelledError:  # before it has started the training
            return 128 + signal.SIGTERM, ""
        except exceptions.OutOfMemoryError:
            return ResourceError.exit_code, "Ray ended the training, because its machine is out of memory; lower --jobs"
        except exceptions.RayTaskError as error:  # for example, mbert is not installed there
            reason = one_line(str(error).strip().splitlines()[-1])
            return 1, f"Ray cannot start the training: {reason}; install the same mbert on all machines"
        except exceptions.RayError as error:
            return LostProcessError.exit_code, f"Ray lost the process of the training ({type(error).__name__})"
