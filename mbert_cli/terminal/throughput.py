"""The speed and the recent losses of a training run."""

from collections import deque
from collections.abc import Mapping

_WEIGHT = 0.05  # of the newest step in the mean loss; a loss that is 20 steps old has a third of that weight
_NUM_STEPS = 30  # the speed is a mean over this many steps


class ThroughputMeter:
    """Measures the speed of the most recent steps, and exponential moving averages of the losses."""

    def __init__(self) -> None:
        self.losses: dict[str, float] = {}
        self._recent: deque[tuple[float, int]] = deque(maxlen=_NUM_STEPS)
        self._first = True

    def count(self, seconds: float, tokens: int) -> None:
        """Count a step. The time of the first step is ignored, because it includes compiling and allocation.

        Args:
            seconds: duration of the step.
            tokens: number of tokens.
        """
        if not self._first:
            self._recent.append((seconds, tokens))
        self._first = False

    def count_losses(self, losses: Mapping[str, float]) -> None:
        """Count the losses of a step.

        Args:
            losses: loss of each task.
        """
        self.losses |= {task: _mean(self.losses.get(task, 0.0), loss) for task, loss in losses.items()}

    def note(self, left: float | None) -> str:
        """Return the speed, the time left and the losses, for a progress bar.

        Args:
            left: seconds until the end of training, including evaluations; None if not known.
        """
        seconds = sum(each for each, _ in self._recent)
        speed = f"{sum(tokens for _, tokens in self._recent) / seconds:,.0f} tokens/s" if seconds else ""
        losses = " · ".join(f"{task} {loss:.3f}" for task, loss in self.losses.items())
        return " · ".join(filter(None, (speed, "" if left is None else f"{duration(left)} left", losses)))


def _mean(old: float, new: float) -> float:
    return new if old == 0.0 else old + _WEIGHT * (new - old)


def duration(seconds: float) -> str:
    """Return a duration as text: 45 s, 12 min, 3 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
