"""The record of a round."""

from mbert_cli.machine.hardware import Hardware
from mbert_cli.model.parameter_count import parameter_counts
from mbert_cli.reports.evaluation_folder import Evaluation
from mbert_cli.storage.metrics_file import EpochRecord, Seconds
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.state import RoundTotals, TrainingState


def record_of(
    setup: TrainingSetup,
    state: TrainingState,
    totals: RoundTotals,
    evaluation: Evaluation | None,
    epoch: int,
    dev_seconds: float,
    hardware: Hardware,
) -> EpochRecord:
    """Return the record of a round that has just ended. It is not the best one yet, and not the last one.

    Args:
        setup: what is trained.
        state: how far the run is.
        totals: the totals of the steps of the round.
        evaluation: its scores on the dev files; None if it was not scored.
        epoch: the epoch of its last step.
        dev_seconds: how long scoring took.
        hardware: what computed it.
    """
    return EpochRecord(
        epoch=state.rounds,
        step=state.step,
        phases=setup.phases.combination(epoch),
        rows=totals.rows,
        tokens=totals.tokens,
        train_loss=totals.losses,
        tasks={} if evaluation is None else evaluation.metrics["tasks"],
        overall=None if evaluation is None else evaluation.metrics["overall"],
        best=False,
        parameters=parameter_counts(setup.learner.model),
        hardware={"device": hardware.device.type, "precision": hardware.precision},
        seconds=Seconds(round(totals.seconds, 3), round(dev_seconds, 3)),
        drift=tuple(state.drift),
        of_epoch=None if setup.recipe.training.evaluate_every is None else epoch,
    )
