"""The name of a run, and the group of runs that it belongs to, from the place of its folder.

Must not import torch: fast start-up.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunName:
    """The name of a run.

    Args:
        name: the name of its folder; for a member of an ensemble, `ENSEMBLE-member-2`.
        group: the name of the sweep or, outside a sweep, of the ensemble; None if the run belongs to neither.
    """

    name: str
    group: str | None = None


def run_name(path: Path) -> RunName:
    """Return the name of the run in a folder.

    Args:
        path: the run folder: `DIR`, `ENSEMBLE/members/2` or `SWEEP/runs/NAME`.
    """
    path = path.absolute()
    above = path.parent.parent
    if path.parent.name == "members" and (above / "recipe.yaml").is_file():
        ensemble = run_name(above)
        return RunName(f"{ensemble.name}-member-{path.name}", ensemble.group or ensemble.name)
    if path.parent.name == "runs" and (above / "plan.yaml").is_file():
        return RunName(path.name, above.name)
    return RunName(path.name)
