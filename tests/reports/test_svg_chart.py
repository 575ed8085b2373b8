import math

import pytest

from mbert_cli.reports.svg_chart import HEIGHT, WIDTH, line_chart, scatter_chart, share_chart


def inside(points):
    return all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y, *_ in points)


def test_a_line_rises_with_its_values_and_is_inside_the_chart():
    chart = line_chart("scores", {"a": {1: 0.2, 2: 0.4, 3: 0.9}, "overall": {1: 0.5, 3: 0.6}}, "overall", (3, "kept"))
    a, overall = chart.series
    assert [y for _, y, _ in a.points] == sorted((y for _, y, _ in a.points), reverse=True)
    assert inside(a.points)
    assert (a.colour, overall.colour) == (0, None)
    assert chart.mark.at == a.points[2][0] == overall.points[1][0]
    assert a.points[0][2] == "a, epoch 1: 0.2"


def test_positions_on_an_axis_are_proportional_to_values():
    chart = line_chart("scores", {"a": {1: 0.0, 2: 1.0}})
    ticks = {float(tick.text): tick.at for tick in chart.y_ticks}
    (_, low, _), (_, high, _) = chart.series[0].points
    assert ticks[0.4] == pytest.approx(low + 0.4 * (high - low), abs=0.11)
    assert 3 <= len(ticks) <= 7


@pytest.mark.parametrize("lines", [{}, {"a": {}}, {"a": {1: math.nan}}, {"a": {1: math.inf}}])
def test_without_finite_values_there_is_no_chart(lines):
    assert line_chart("scores", lines) is None


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 1e12])
def test_a_single_value_has_an_axis(value):
    chart = line_chart("scores", {"a": {1: value}})
    assert inside(chart.series[0].points)
    assert chart.y_ticks


def test_many_epochs_have_few_ticks():
    chart = line_chart("scores", {"a": {epoch: epoch / 300 for epoch in range(1, 301)}})
    assert len(chart.x_ticks) <= 16
    assert len(chart.series[0].points) == 300


def test_bars_are_stacked_and_their_heights_are_proportional_to_amounts():
    chart = share_chart("rows", {1: {"a": 30, "b": 10}, 2: {"b": 20}})
    a, b, alone = chart.bars
    assert b.y + b.height == pytest.approx(a.y, abs=0.11)
    assert a.height == pytest.approx(3 * b.height, abs=0.3)
    assert alone.height == pytest.approx(2 * b.height, abs=0.3)
    assert (a.colour, b.colour, alone.colour) == (0, 1, 1)
    assert share_chart("rows", {}) is None
    assert share_chart("rows", {1: {}}) is None


def test_of_very_many_points_evenly_spaced_ones_are_drawn():
    values = [i / 10_000 for i in range(10_000)]
    chart = scatter_chart("points", values, values)
    assert 1000 <= len(chart.dots) <= 1500
    steps = [b[0] - a[0] for a, b in zip(chart.dots, chart.dots[1:], strict=False)]
    assert max(steps) - min(steps) < 0.3
    assert scatter_chart("points", [], []) is None
    assert len(scatter_chart("points", [1.0], [1.0]).dots) == 1


@pytest.mark.parametrize("values", [(0.73505, 0.73515), (0.99, 0.99), (12_345.0, 99_000.0), (-0.05, 0.6)])
def test_the_drawing_starts_to_the_right_of_the_longest_number(values):
    chart = line_chart("scores", {"a": {1: values[0], 2: values[1]}})
    assert chart.left >= 7.5 * max(len(tick.text) for tick in chart.y_ticks) + 6
    assert min(x for x, *_ in chart.series[0].points) > chart.left


def test_an_axis_has_a_least_span_so_that_small_differences_look_small():
    chart = line_chart("scores", {"a": {1: 0.7350, 2: 0.7352}}, least_span=0.05)
    low, high = (float(chart.y_ticks[i].text) for i in (0, -1))
    assert 0.03 < high - low < 0.06
    (_, first, _), (_, second, _) = chart.series[0].points
    assert abs(first - second) < 2  # of 186
    wide = line_chart("scores", {"a": {1: 0.2, 2: 0.9}}, least_span=0.05)
    assert float(wide.y_ticks[-1].text) - float(wide.y_ticks[0].text) < 0.85


def test_numbers_of_an_axis_have_the_same_number_of_decimals():
    chart = line_chart("scores", {"a": {1: 0.86, 2: 0.91}})
    assert {len(tick.text) for tick in chart.y_ticks} == {len(chart.y_ticks[0].text)}
