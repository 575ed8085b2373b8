import pytest

from mbert_cli.terminal.throughput import ThroughputMeter, duration


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (5940.0, "99 min"), (11100.0, "3 h 5 min")]
)
def test_times_are_told_for_people(seconds, said):
    assert duration(seconds) == said


def test_a_steady_pace_is_told_exactly():
    meter = ThroughputMeter()
    for seconds in [25.0] + [0.5] * 40:  # the first step compiles
        meter.count(seconds, tokens=1000, losses={"mood": 1.25})
    assert meter.note(30.0) == "2,000 tokens/s · 30 s left · mood 1.250"


def test_what_is_not_known_is_left_out():
    meter = ThroughputMeter()
    meter.count(25.0, tokens=1000, losses={"mood": 1.25})
    assert meter.note(None) == "mood 1.250"


def test_losses_of_late_count_most():
    meter = ThroughputMeter()
    for loss in [2.0] * 100 + [1.0] * 100:
        meter.count(0.1, 10, {"mood": loss})
    assert meter.losses["mood"] == pytest.approx(1.0, abs=0.01)
