"""How fast a training goes, and how its losses do of late. No torch here."""

from collections.abc import Mapping

_WEIGHT = 0.05  # of the newest step; what is twenty steps old counts for a third


class Pace:
    """Exponential means over the steps of late.

    Args:
        steps: how many the run has.
        done: how many were taken before.
    """

    def __init__(self, steps: int, done: int = 0) -> None:
        self.left = steps - done
        self.seconds = self.tokens = 0.0
        self.losses: dict[str, float] = {}

    def count(self, seconds: float, tokens: int, losses: Mapping[str, float]) -> None:
        """Account for a step.

        Args:
            seconds: how long it took.
            tokens: how many it read.
            losses: of its tasks.
        """
        self.seconds = _mean(self.seconds, seconds)
        self.tokens = _mean(self.tokens, float(tokens))
        self.losses |= {task: _mean(self.losses.get(task, 0.0), loss) for task, loss in losses.items()}
        self.left -= 1

    def note(self) -> str:
        """Return the speed, the time left without the time on dev files, and the losses, for the bar."""
        speed = self.tokens / self.seconds if self.seconds else 0.0
        losses = " · ".join(f"{task} {loss:.3f}" for task, loss in self.losses.items())
        return f"{speed:,.0f} tokens/s · {duration(self.left * self.seconds)} left · {losses}"


def _mean(old: float, new: float) -> float:
    return new if old == 0.0 else old + _WEIGHT * (new - old)


def duration(seconds: float) -> str:
    """Return a time for people: 45 s, 12 min, 3 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
