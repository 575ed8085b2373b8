import pytest

from mbert_cli.pace import Pace, duration


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (5940.0, "99 min"), (11100.0, "3 h 5 min")]
)
def test_times_are_told_for_people(seconds, said):
    assert duration(seconds) == said


def test_a_steady_pace_is_told_exactly():
    pace = Pace(steps=110, done=10)
    for _ in range(40):
        pace.count(seconds=0.5, tokens=1000, losses={"mood": 1.25})
    assert pace.note() == "2,000 tokens/s · 30 s left · mood 1.250"


def test_losses_of_late_count_most():
    pace = Pace(steps=300)
    for loss in [2.0] * 100 + [1.0] * 100:
        pace.count(0.1, 10, {"mood": loss})
    assert pace.losses["mood"] == pytest.approx(1.0, abs=0.01)
