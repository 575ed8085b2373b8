import io
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from records import record

from mbert_cli.metrics import classification_metrics, regression_metrics
from mbert_cli.reports.evaluation_folder import Evaluation, Predictions, write_evaluation
from mbert_cli.reports.figures import draw, draw_if_possible, write_figures
from mbert_cli.reports.plot_confusion import confusion_figure
from mbert_cli.reports.plot_curves import curves_figure
from mbert_cli.reports.plot_scatter import scatter_figure
from mbert_cli.reports.plot_scores import ScorePoint, scores_figure
from mbert_cli.reports.plot_style import DPI
from mbert_cli.storage.metrics_file import metrics_text


def classified(names, rows, seed=0):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, len(names), rows), rng.integers(0, len(names), rows)
    return {"examples": rows, **classification_metrics(predicted, labels, names, positive=None)}


def line(epoch, phases="simultaneous", best=True, **accuracies):
    accuracies = accuracies or {"mood": 0.5, "same": 0.25}
    tasks = {task: {"main_metric": "accuracy", "accuracy": value} for task, value in accuracies.items()}
    overall = float(np.mean(list(accuracies.values())))
    losses = dict.fromkeys(accuracies, 1 / epoch)
    return record(epoch, phases=phases, train_loss=losses, tasks=tasks, overall=overall, best=best)


@pytest.fixture
def drawable(tmp_path):
    """A folder with a metrics.jsonl and the evaluation of three tasks, one of them with unusual labels."""
    labels, predicted = np.linspace(0, 5, 20), np.linspace(1, 4, 20)
    names = ["a/b", "$x_1$", "\\frac", "零", "<b>[red]"]
    tasks = {
        "mood": classified(names, 40),
        "same": classified(["0", "1"], 9),
        "near": {"examples": 20, **regression_metrics(predicted, labels)},
    }
    near = Predictions(range(2, 22), labels.tolist(), {"pred": predicted.tolist(), "score": predicted.tolist()})
    write_evaluation(tmp_path, Evaluation({"split": "dev", "tasks": tasks, "overall": 0.5}, {"near": [near]}))
    lines = [line(1, "sequential"), line(2, mood=0.6, same=0.5), line(3, "sequential", best=False)]
    (tmp_path / "metrics.jsonl").write_text(metrics_text(lines))
    return tmp_path


def pixels(png):
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert image.format == "PNG"
        return image.size, image.info, np.asarray(image.convert("RGB"))


SVG = "{http://www.w3.org/2000/svg}"
FIGURES = ("mood_confusion", "same_confusion", "near_scatter", "curves")


def test_each_task_and_the_curves_are_drawn_in_the_expected_size(drawable):
    drawn = draw(drawable, drawable / "metrics.jsonl")
    assert set(drawn) == {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    sizes = {name: pixels(png)[0] for name, png in drawn.items() if name.endswith(".png")}
    assert sizes["curves.png"] == (11 * DPI, 4.4 * DPI)
    assert sizes["near_scatter.png"] == (5.2 * DPI, 5.2 * DPI)
    assert sizes["mood_confusion.png"] > sizes["same_confusion.png"]
    write_figures(drawable, drawn)
    assert (drawable / "curves.png").read_bytes() == drawn["curves.png"]


def test_drawing_again_gives_the_same_bytes_without_dates_and_software(drawable):
    first, second = (draw(drawable, drawable / "metrics.jsonl") for _ in range(2))
    assert first == second
    for name in FIGURES:
        assert set(pixels(first[f"{name}.png"])[1]) == {"dpi"}
        assert b"<dc:date>" not in first[f"{name}.svg"]


def test_vector_figures_contain_their_text_as_text(drawable):
    drawn = draw(drawable, drawable / "metrics.jsonl")
    words = ["".join(each.itertext()) for each in ElementTree.fromstring(drawn["curves.svg"]).iter(f"{SVG}text")]
    assert {"training loss", "main metric on dev", "epoch"} <= set(words)


def test_displays_and_user_settings_do_not_change_the_bytes(drawable, tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.dpi: 33\nsavefig.facecolor: red\n")
    code = (
        "import sys, pathlib; from mbert_cli.reports.figures import draw, write_figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "folder = pathlib.Path(sys.argv[1]); out = folder / 'out'; out.mkdir()\n"
        "write_figures(out, draw(folder, folder / 'metrics.jsonl'))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "MPLCONFIGDIR": str(tmp_path), "DISPLAY": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, drawable], capture_output=True, text=True, env={"PATH": "", **environment}
    )
    assert (done.returncode, done.stderr) == (0, "")
    for name, content in draw(drawable, drawable / "metrics.jsonl").items():
        assert (drawable / "out" / name).read_bytes() == content, name


def test_drawing_does_not_change_the_settings_of_matplotlib(drawable):
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw(drawable, drawable / "metrics.jsonl")
    assert dict(matplotlib.rcParams) == before


def test_without_data_nothing_is_drawn(tmp_path):
    assert draw(tmp_path / "nowhere", tmp_path / "nothing.jsonl") == {}


def test_a_failure_to_draw_is_reported_in_one_line(drawable, capsys):
    from mbert_cli.terminal.console import Console

    (drawable / "near_predictions.tsv").unlink()
    assert draw_if_possible(drawable, drawable / "metrics.jsonl", Console()) == {}
    message = capsys.readouterr().err
    assert message.startswith("the figures could not be drawn (FileNotFoundError: ")
    assert len(message.splitlines()) == 1


def test_missing_matplotlib_is_reported_in_one_line(drawable, capsys, monkeypatch):
    from mbert_cli.terminal.console import Console

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw_if_possible(drawable, drawable / "metrics.jsonl", Console()) == {}
    assert "the figures could not be drawn (ModuleNotFoundError: " in capsys.readouterr().err


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_cells_of_a_confusion_matrix_contain_count_and_share_and_rows_are_true_labels():
    figure = confusion_figure("title", ["x", "y"], [[3.0, 1.0], [0.0, 2.0]], [[0.75, 0.25], [0.0, 1.0]])
    assert texts(figure) == ["3", "75%", "1", "25%", "0", "0%", "2", "100%"]
    axes = figure.axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true label", "predicted label")
    assert axes.yaxis_inverted()  # the first label is on top
    # The second cell of the first row: true label x, predicted label y.
    assert (axes.texts[2].get_position()[0] // 1, axes.texts[2].get_position()[1] // 1) == (1, 0)


@pytest.mark.parametrize("number", [2, 5, 12, 30, 60, 150, 400])
def test_confusion_matrices_are_legible_for_any_number_of_classes(number):
    names = [f"a rather long name of an intent, by number {i}" for i in range(number)]
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 2000, (number, number)).astype(float)
    figure = confusion_figure("title", names, counts.tolist(), (counts / counts.sum(1, keepdims=True)).tolist())
    assert max(figure.get_size_inches()) < 18
    for text in figure.axes[0].texts:
        assert text.get_size() >= 3.7
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == len(labels)
    assert max(len(label) for label in labels) <= 28
    # Neighbouring labels do not overlap.
    inches = figure.get_size_inches()[1] * figure.axes[0].get_position().height / number
    if len(labels) > 1:
        assert (number / len(labels) + 1) * inches * 72 > 6.5


def test_curves_mark_sequential_epochs_and_the_kept_epoch():
    figure = curves_figure([line(1, "sequential"), line(2), line(3, "sequential", best=False), line(4, best=False)])
    bands = [[patch.get_x() for patch in axes.patches] for axes in figure.axes]
    assert bands == [[0.5, 2.5]] * 2
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["mood accuracy", "same accuracy", "overall", "kept: epoch 2", "sequential epoch"]
    assert [list(curve.get_ydata()) for curve in figure.axes[0].lines[:2]] == [[1, 1 / 2, 1 / 3, 1 / 4]] * 2
    assert list(figure.axes[1].lines[0].get_ydata()) == [0.5] * 4
    assert list(figure.axes[1].lines[2].get_ydata()) == [0.375] * 4


def test_curves_of_scores_start_at_the_first_scored_epoch():
    unscored = replace(line(1, best=False), tasks={}, overall=None)
    losses, scores = curves_figure([unscored, line(2)]).axes
    assert list(losses.lines[0].get_ydata()) == [1, 1 / 2]
    assert [list(curve.get_ydata()[1:]) for curve in scores.lines[:3]] == [[0.5], [0.25], [0.375]]
    assert all(np.isnan(curve.get_ydata()[0]) for curve in scores.lines[:3])


def test_curves_have_no_bands_if_all_epochs_are_of_one_kind():
    for phases in ("sequential", "simultaneous"):
        assert not curves_figure([line(1, phases), line(2, phases)]).axes[0].patches


def test_curves_of_many_tasks_have_distinct_styles():
    figure = curves_figure([line(1, **{f"task-{i}": i / 20 for i in range(20)})])
    styles = {(each.get_color(), each.get_marker(), each.get_linestyle()) for each in figure.axes[0].lines[:-1]}
    assert len(styles) == 20


def test_axes_of_scores_span_at_least_five_hundredths():
    curves = curves_figure([line(1, mood=0.7350), line(2, mood=0.7352)]).axes[1]
    sizes = scores_figure("a title", {"": [ScorePoint("one", 1000, 0.7350, 0.7350, 0.7351)]}).axes[0]
    for axes in (curves, sizes):
        low, high = axes.get_ylim()
        assert high - low == pytest.approx(0.05)
        assert low < 0.735 < high


def test_losses_that_differ_much_have_a_logarithmic_axis():
    lines = [line(1), line(2)]
    assert curves_figure(lines).axes[0].get_yscale() == "linear"
    high = [replace(each, train_loss={**each.train_loss, "mood": 5000.0}) for each in lines]
    assert curves_figure(high).axes[0].get_yscale() == "log"


@pytest.mark.parametrize(("labels", "predicted"), [([2.0], [2.0]), ([1.0, 2.0], [3.0, 3.0]), ([0.0] * 5, [0.0] * 5)])
def test_constant_and_single_predictions_can_be_drawn(labels, predicted):
    axes = scatter_figure("title", labels, predicted).axes[0]
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_xlim()[0] < axes.get_xlim()[1]


def test_the_identity_line_goes_from_corner_to_corner():
    axes = scatter_figure("title", [0.0, 5.0], [1.0, 7.0]).axes[0]
    xs, ys = axes.lines[0].get_data()
    assert tuple(xs) == tuple(ys) == axes.get_xlim()


def test_scores_are_drawn_against_sizes_with_their_ranges():
    small, large = ScorePoint("1 %", 200_000, 0.6, 0.58, 0.61), ScorePoint("10 %", 2_000_000, 0.7, 0.7, 0.7)
    figure = scores_figure("a title", {"PAL": [large, small], "full": [ScorePoint("all", 22_000_000, 0.8, 0.79, 0.82)]})
    axes = figure.axes[0]
    lines = {container.get_label(): container for container in axes.containers}
    line, _, (bars,) = lines["PAL"]
    assert line.get_xdata().tolist() == [200_000, 2_000_000]  # sorted by size
    assert line.get_ydata().tolist() == [0.6, 0.7]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [
        pytest.approx([0.58, 0.61]),
        pytest.approx([0.7, 0.7]),
    ]
    assert sorted(text.get_text() for text in axes.texts) == ["1 %", "10 %", "all"]
    assert axes.get_xscale() == "log"
    assert [axes.xaxis.get_major_formatter()(value, 0) for value in (250.0, 1e3, 2.5e5, 1e6, 2e9)] == [
        "250", "1k", "250k", "1M", "2G",
    ]  # fmt: skip


def test_names_of_close_points_do_not_overlap():
    points = [
        ScorePoint(name, 1_000_000 + near, 0.7, 0.69, 0.71) for near, name in enumerate(("first", "second", "third"))
    ]
    far = ScorePoint("far", 9_000_000, 0.8, 0.8, 0.8)
    figure = scores_figure("a title", {"": [*points, far]})
    figure.draw_without_rendering()
    names = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    assert set(names) == {"first", "second", "third", "far"}
    assert not any(one.overlaps(other) for one, other in combinations(names.values(), 2))
    mark = figure.axes[0].transData.transform((9_000_000, 0.8))
    assert names["far"].x0 > mark[0]  # beside its point, below to the right
    assert names["far"].y1 < mark[1]
