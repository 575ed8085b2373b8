"""The processes of a training run that `--devices` or torchrun has started. Needs Linux."""

from pathlib import Path


def ranks_of(parent: int) -> dict[int, int]:
    """Return the process id of each rank, by its rank."""
    ranks = {}
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in children:
            for variable in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                if variable.startswith(b"RANK="):
                    ranks[int(variable[5:])] = int(child)
    except (FileNotFoundError, ProcessLookupError):
        pass  # a process has ended meanwhile
    return ranks
