"""Sampling between proportional to size and the same for all."""

from typing import Annotated

from pydantic import Field

from mbert_cli.curricula import Sampling


class Temperature(Sampling):
    """One task a step, in random order; steps are shared out in proportion to N_i^(1/T), N_i a task's rows.

    T = 1 is `proportional`, T = 2 `square_root`; towards infinity all tasks have the same. Source: Arivazhagan et al.
    2019, "Massively Multilingual Neural Machine Translation in the Wild", section 4.2; see `Sampling` for what differs.

    Args:
        epochs: how many the run has.
        temperature: T.
        steps: of an epoch; by default as many as one pass over all training sets takes.
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
