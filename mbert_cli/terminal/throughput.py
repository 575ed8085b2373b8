"""How fast a training goes, and how its losses do of late. No torch here."""

from collections import deque
from collections.abc import Mapping

_WEIGHT = 0.05  # of the newest step; what is twenty steps old counts for a third
_NEWEST = 30  # steps of which the speed is shown


class ThroughputMeter:
    """The speed of the newest steps, and exponential means of the losses."""

    def __init__(self) -> None:
        self.losses: dict[str, float] = {}
        self._newest: deque[tuple[float, int]] = deque(maxlen=_NEWEST)
        self._first = True

    def count(self, seconds: float, tokens: int, losses: Mapping[str, float]) -> None:
        """Account for a step; the first one of a process, which compiles and allocates, tells nothing of the speed.

        Args:
            seconds: how long it took.
            tokens: how many it read.
            losses: of its tasks.
        """
        if not self._first:
            self._newest.append((seconds, tokens))
        self._first = False
        self.losses |= {task: _mean(self.losses.get(task, 0.0), loss) for task, loss in losses.items()}

    def note(self, left: float | None) -> str:
        """Return the speed, the time left and the losses, for the bar.

        Args:
            left: seconds until the end of the training, evaluations included; None where nobody knows.
        """
        seconds = sum(each for each, _ in self._newest)
        speed = f"{sum(tokens for _, tokens in self._newest) / seconds:,.0f} tokens/s" if seconds else ""
        losses = " · ".join(f"{task} {loss:.3f}" for task, loss in self.losses.items())
        return " · ".join(filter(None, (speed, "" if left is None else f"{duration(left)} left", losses)))


def _mean(old: float, new: float) -> float:
    return new if old == 0.0 else old + _WEIGHT * (new - old)


def duration(seconds: float) -> str:
    """Return a time for people: 45 s, 12 min, 3 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
