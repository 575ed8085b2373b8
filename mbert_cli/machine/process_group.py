"""The processes of one command, which torchrun starts, and what they exchange.

Source: PyTorch's `torch.distributed`, with gloo for CPU tensors and NCCL for GPU tensors.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from mbert_cli.errors import LostProcessError, MbertError, PeerFailedError, UsageError
from mbert_cli.machine import signals
from mbert_cli.machine.launcher import RESUME, is_one_of_many
from mbert_cli.machine.watchdog import Watchdog, connect, has_left

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others; one of them may save a large model meanwhile."""
_POLL_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Processes:
    """The processes that compute one command together.

    Args:
        rank: number of this process, from 0.
        count: number of processes.
        remedy: what the user does if a process is lost.
        store: connection with the store of the rendezvous; None if there are no other processes.
    """

    rank: int = 0
    count: int = 1
    remedy: str = RESUME
    store: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there are no other processes."""
        return self.count == 1

    def add(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over all processes, which has the same bits in all of them; return it.

        Raises:
            LostProcessError: another process has ended or does not answer.
        """
        if not self.is_alone:
            from torch import distributed

            try:
                distributed.all_reduce(tensor)
            except RuntimeError as error:
                raise _lost(self.rank, self.remedy) from error
        return tensor

    def add_all(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one data type by their sums over all processes, in one exchange."""
        if self.is_alone or not tensors:
            return
        flat = self.add(torch.cat([tensor.flatten() for tensor in tensors]))
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a block in all processes; if it fails in one of them, it fails in all, with one message.

        Raises:
            PeerFailedError: the block failed in another process.
        """
        failure: MbertError | None = None
        try:
            yield
        except MbertError as error:
            if isinstance(error, LostProcessError):
                raise
            failure = error
        codes = torch.zeros(self.count)
        codes[self.rank] = 0 if failure is None else failure.exit_code
        failed = self.add(codes).nonzero().flatten().tolist()
        if not failed:
            return
        self.wait_for_last()
        if failure is not None and failed[0] == self.rank:
            raise failure
        # Fails when the process that prints the message has ended: torchrun ends all as soon as one has failed.
        self.wait_for_last()
        raise PeerFailedError(int(codes[failed[0]]))

    def wait(self) -> None:
        """Wait until all processes have come to this point."""
        self.add(torch.zeros(1))

    def wait_for_last(self) -> None:
        """Wait until all processes have come to this point or have ended.

        A process calls it before it ends. Otherwise it may close its connections while another one still reads the
        last sum from them.
        """
        with suppress(LostProcessError):
            self.wait()

    def post(self, name: str, text: str) -> None:
        """Give a text to the other processes, which read it by its name.

        Raises:
            LostProcessError: the store of the rendezvous does not answer.
        """
        try:
            self.store.set(_text_key(name), text)
        except RuntimeError as error:
            raise _lost(self.rank, self.remedy) from error

    def text_from(self, rank: int, name: str) -> str:
        """Return a text that another process gives, however long that takes; signals are handled meanwhile.

        Args:
            rank: the other process.
            name: name of the text.

        Raises:
            LostProcessError: the process has ended without giving the text.
        """
        key = _text_key(name)
        try:
            while not self.store.check([key]):
                if has_left(self.store, rank) and not self.store.check([key]):
                    raise _lost(self.rank, self.remedy)
                time.sleep(_POLL_EVERY)
            return str(self.store.get(key).decode())
        except RuntimeError as error:
            raise _lost(self.rank, self.remedy) from error

    def gather_rows(self, values: Tensor, places: Tensor, count: int) -> Tensor:
        """Return the rows of all processes in one tensor on the CPU.

        Args:
            values: the fp32 rows of this process.
            places: the place of each of them in the result.
            count: number of rows of the result.
        """
        if self.is_alone:
            return torch.empty_like(values).index_copy_(0, places, values)
        # Sums of integers of which all but one are zero are exact, and keep the sign of -0.
        bits = torch.zeros(count, *values.shape[1:], dtype=torch.int32)
        bits.index_copy_(0, places, values.contiguous().view(torch.int32))
        owners = torch.zeros(count, dtype=torch.int32).index_copy_(
            0, places, torch.ones(len(places), dtype=torch.int32)
        )
        self.add(bits)
        assert bool((self.add(owners) == 1).all()), "every row has one process"
        return bits.view(torch.float32)


ALONE = Processes()
"""A process without others."""


@contextmanager
def joined(device: str = "auto", remedy: str = RESUME) -> Iterator[Processes]:
    """Connect this process with the others that torchrun has started, while a block runs.

    Args:
        device: the requested device; see `hardware.choose`.
        remedy: what the user does if a process is lost.

    Raises:
        UsageError: there are fewer GPUs than processes on this machine.
        LostProcessError: another process has ended or does not answer.
    """
    if not is_one_of_many():
        yield ALONE
        return
    from torch import distributed

    backend, local = "gloo", int(os.environ.get("LOCAL_RANK", "0"))
    if device != "cpu" and (gpus := torch.cuda.device_count()):
        if local >= gpus:
            raise UsageError(f"there are only {gpus} GPUs for process {local + 1} on this machine; start fewer.")
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    rank = int(os.environ["RANK"])
    try:
        # It waits for all processes in C++, where Python handles no signal. If one of them is lost, torchrun would wait
        # 30 s before it kills the others.
        with signals.ending_at_once():
            distributed.init_process_group(backend, timeout=_PATIENCE)
        processes = Processes(rank, distributed.get_world_size(), remedy, connect())
        watchdog = Watchdog(rank, processes.count)
    except RuntimeError as error:
        raise _lost(rank, remedy) from error
    try:
        yield processes
        processes.wait_for_last()
    finally:
        # Python aborts at its end if a thread is inside PyTorch then.
        watchdog.leave()
        with suppress(RuntimeError):
            distributed.destroy_process_group()


def _text_key(name: str) -> str:
    # torchrun keeps its store when it starts all processes again.
    return f"mbert/text/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{name}"


def _lost(rank: int, remedy: str) -> LostProcessError:
    return LostProcessError(
        f"process {rank}: lost contact with another process, which has ended or does not answer; see its messages, "
        f"then {remedy}."
    )
