import pytest

from mbert_cli.terminal.throughput import ThroughputMeter, duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (5940.0, "99 min"), (11100.0, "3 h 5 min")]
)
def test_durations_as_text(seconds, text):
    assert duration(seconds) == text


def test_a_constant_speed_is_measured_exactly():
    meter = ThroughputMeter()
    for seconds in [25.0] + [0.5] * 40:  # the first step includes compiling
        meter.count(seconds, tokens=1000)
        meter.count_losses({"mood": 1.25})
    assert meter.note(30.0) == "2,000 tokens/s · 30 s left · mood 1.250"


def test_unknown_values_are_left_out():
    meter = ThroughputMeter()
    meter.count(25.0, tokens=1000)
    meter.count_losses({"mood": 1.25})
    assert meter.note(None) == "mood 1.250"


def test_recent_losses_have_the_largest_weights():
    meter = ThroughputMeter()
    for loss in [2.0] * 100 + [1.0] * 100:
        meter.count_losses({"mood": loss})
    assert meter.losses["mood"] == pytest.approx(1.0, abs=0.01)
