"""Sampling with a temperature, between proportional to size and equal."""

from typing import Annotated

from pydantic import Field

from mbert_cli.curricula import Sampling


class Temperature(Sampling):
    """One task per step, in random order; shares are proportional to N_i^(1/T), where N_i is the task's number of rows.

    T = 1 is `proportional`, T = 2 is `square_root`; for very large T all shares are equal. Source: Arivazhagan et al.
    2019, "Massively Multilingual Neural Machine Translation in the Wild", section 4.2. `Sampling` lists the differences
    from the source.

    Args:
        epochs: number of epochs of the run.
        temperature: T.
        steps: number of steps of an epoch; by default as many as one pass over all training sets takes.
    """

    def __init__(
        self,
        epochs: int,
        *,
        temperature: Annotated[float, Field(ge=1, le=1000)] = 1.5,
        steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None,
    ) -> None:
        super().__init__(epochs, steps=steps)
        self.temperature = temperature

    def alpha(self, epoch: int) -> float:
        """Return 1 / T."""
        return 1 / self.temperature
