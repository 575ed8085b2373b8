import json
import re
import shutil

import browser
import pytest
import tiny
from made_runs import make_run, three

from mbert_cli.cli import app

pytest.importorskip("selenium")
pytestmark = pytest.mark.skipif(not browser.is_there(), reason="needs a Chromium and its driver")

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=document.title='taken'>"


@pytest.fixture(scope="module")
def driver():
    with browser.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tmp_path_factory):
    """A run with HTML markup in texts and labels."""
    folder = tmp_path_factory.mktemp("pages")
    files = tiny.write_files(folder)
    for split in ("train", "dev"):
        path = folder / f"mood-{split}.tsv"
        header, *rows = (line.split("\t") for line in path.read_text().splitlines())
        rows = [
            [number, f"{HOSTILE} {text}", HOSTILE[:35] if label == "mid" else label] for number, text, label in rows
        ]
        path.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, files)
    recipe.write_text(recipe.read_text().replace('"mid"', json.dumps(HOSTILE[:35])))
    app(["train", str(recipe), "-o", str(folder / "run"), "-q", "--precision", "fp32"], standalone_mode=False)
    return folder / "run"


@pytest.fixture(scope="module")
def pages(run, tmp_path_factory):
    """The page of one run, the page of two runs, the page of a sweep, and a comparison of two runs."""
    folder = tmp_path_factory.mktemp("reports")
    app(["report", str(run), "-o", str(folder / "one.html")], standalone_mode=False)
    app(["report", str(run), str(run), "-o", str(folder / "two.html")], standalone_mode=False)
    plan = folder / "plan.yaml"
    plan.write_text(f"title: moods\nrows:\n  - {{name: '<b>one</b>', recipe: {run / 'recipe.yaml'}}}\nseeds: [1]\n")
    app(["sweep", str(plan), "-o", str(folder / "sweep"), "-q"], standalone_mode=False)
    other = shutil.copytree(run, folder / "other") / "evaluation" / "mood_predictions.tsv"
    other.write_text(re.sub(r"(?m)^(\d+)\t([^\t]*)\t[^\t]*", r"\1\t\2\t\2", other.read_text()))
    app(["compare", str(run), str(folder / "other"), "-o", str(folder / "compared"), "--json"], standalone_mode=False)
    return {
        "compared": folder / "compared" / "comparison.html",
        "one": folder / "one.html",
        "two": folder / "two.html",
        "sweep": folder / "sweep" / "table.html",
    }


@pytest.mark.parametrize("page", ["one", "two", "sweep", "compared"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_load_no_files_log_no_errors_fit_the_screen_and_have_enough_contrast(driver, pages, page, scheme, width):
    assert browser.look_at(driver, pages[page], width, scheme) == []
    assert driver.title != "taken"
    assert driver.execute_script(browser.LOADED) == []
    needed, there = driver.execute_script(browser.WIDTHS)
    assert needed <= there
    ratio, text = driver.execute_script(browser.WORST_CONTRAST)
    assert ratio >= 4.5, text
    dark = driver.execute_script("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_confusion_matrices_contain_the_numbers_of_the_evaluation(driver, pages, run):
    browser.look_at(driver, pages["one"], 1280, "light")
    found = json.loads((run / "evaluation" / "metrics.json").read_text())["tasks"]
    shown = [
        [[int(cell.text) for cell in row.find_elements("css selector", "td b")] for row in rows]
        for table in driver.find_elements("css selector", "table.matrix")
        if (rows := table.find_elements("css selector", "tbody tr"))
    ]
    assert shown == [found["mood"]["confusion"], found["same"]["confusion"]]
    headings = driver.find_elements("css selector", "table.matrix thead th")
    assert [each.text for each in headings] == ["low", HOSTILE[:35], "high", "0", "1"]


@pytest.mark.parametrize("page", ["one", "compared"])
def test_texts_with_markup_are_shown_literally(driver, pages, page):
    browser.look_at(driver, pages[page], 1280, "light")
    texts = [each.text for each in driver.find_elements("css selector", ".errors .text p")]
    assert any(HOSTILE in text for text in texts)


def test_curves_and_points_are_drawn(driver, pages, run):
    browser.look_at(driver, pages["one"], 1280, "light")
    titles = [each.text for each in driver.find_elements("css selector", "figcaption")]
    assert titles == [
        "Scores on dev", "Training loss", "Rows that each task trained on", "Predictions against labels",
    ]  # fmt: skip
    assert len(driver.find_elements("css selector", "figure:nth-of-type(1) polyline")) >= 4
    assert len(driver.find_elements("css selector", ".dots circle")) == 10


def test_the_recipe_opens_without_a_script(driver, pages):
    browser.look_at(driver, pages["one"], 390, "light")
    recipe = driver.find_element("css selector", "details.recipe")
    assert not recipe.find_element("css selector", "pre").is_displayed()
    recipe.find_element("css selector", "summary").click()
    assert "checkpoint:" in recipe.find_element("css selector", "pre").text


OUTSIDE = """
return [...document.querySelectorAll('svg text')].filter(text => {
  const box = text.getBBox(), view = text.ownerSVGElement.viewBox.baseVal;
  return box.x < 0 || box.y < 0 || box.x + box.width > view.width || box.y + box.height > view.height;
}).map(text => text.textContent)
"""
SCROLLING = """
return [...document.querySelectorAll('.wide')]
  .filter(each => each.getClientRects().length && each.scrollWidth > each.clientWidth)
  .map(each => [each.offsetHeight - each.clientHeight, getComputedStyle(each).backgroundImage])
"""


@pytest.fixture(scope="module")
def close_runs(tmp_path_factory):
    """The page of three runs with close scores, long numbers and a wide table."""
    folder, names = tmp_path_factory.mktemp("close"), "abc"
    for number, name in enumerate(names):
        scores = [three(0.73505 + number / 1e4, 0.8, 0.9), three(0.7351 + number / 1e4, 0.8, 0.9)]
        make_run(folder / name, scores, train_loss={"sst": 12345.6, "quora": 0.000123, "sts": 7.0})
    app(["report", *(str(folder / name) for name in names), "-o", str(folder / "three.html")], standalone_mode=False)
    return folder / "three.html"


@pytest.mark.parametrize("width", [400, 1280])
def test_all_text_of_a_chart_is_inside_the_chart(driver, close_runs, pages, width):
    for page in (close_runs, pages["one"], pages["two"]):
        browser.look_at(driver, page, width, "light")
        assert driver.execute_script(OUTSIDE) == []


def test_a_table_that_scrolls_has_a_scroll_bar_and_a_shadow(driver, close_runs):
    browser.look_at(driver, close_runs, 400, "light")
    scrolling = driver.execute_script(SCROLLING)
    assert scrolling
    for bar, background in scrolling:
        assert bar >= 6  # pixels; the own scroll bar of a phone has none
        assert "gradient" in background
