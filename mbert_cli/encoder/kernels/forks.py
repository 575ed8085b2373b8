"""What a forked process may compute with: OpenMP's threads do not exist in it, and it would wait for them for ever.

GNU OpenMP, which PyTorch computes with, does not survive a fork, and Numba ends the child of a process that used it. So
a child whose parent computed uses PyTorch's own kernels in one thread, which need no other.
"""

import os

import torch


class _Process:
    has_threads = False
    is_child = False  # of a process that had threads


def _note_fork() -> None:
    _Process.is_child |= _Process.has_threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def note_threads() -> None:
    """Note that this process begins to compute, by which threads may start."""
    settle()
    _Process.has_threads = True


def settle() -> bool:
    """Return whether this is a child of a process that computed; if so, let PyTorch compute in one thread."""
    if _Process.is_child and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return _Process.is_child
