"""Records of epochs with made-up values."""

from dataclasses import replace

from mbert_cli.storage.metrics_file import EpochRecord, Seconds

_RECORD = EpochRecord(
    epoch=1,
    step=10,
    phases="simultaneous",
    rows={},
    tokens=0,
    train_loss={},
    tasks={},
    overall=0.5,
    best=True,
    parameters={"encoder": 100_000_000, "adapters": 5_000_000, "all": 106_000_000},
    hardware={"device": "cpu", "precision": "fp32"},
    seconds=Seconds(10.5, 100.0),
)


def record(epoch, **change):
    """Return the record of an epoch with some changed fields."""
    return replace(_RECORD, **{"epoch": epoch, "step": 10 * epoch, **change})
