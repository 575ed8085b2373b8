"""Computation in forked processes. The threads of OpenMP do not exist in the child, which would wait for them forever.

GNU OpenMP, which PyTorch uses, does not support fork, and Numba terminates the child of a process that used it. So if
the parent has computed, the child uses the PyTorch kernels in a single thread.
"""

import os

import torch


class _Process:
    has_threads = False
    is_child = False  # whether the parent process had threads


def _note_fork() -> None:
    _Process.is_child |= _Process.has_threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def note_threads() -> None:
    """Record that this process starts to compute, which may start threads."""
    settle()
    _Process.has_threads = True


def settle() -> bool:
    """Return whether this is the forked child of a process that computed; if so, limit PyTorch to one thread."""
    if _Process.is_child and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return _Process.is_child
