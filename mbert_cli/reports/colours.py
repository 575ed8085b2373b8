"""Every colour of the figures (matplotlib) and of the pages (HTML, with their SVG charts).

Figures are printed and pasted into slides, so they have one set of colours. Pages have a light and a dark one, with a
contrast of text of at least 4.5 (WCAG 2.1, AA).

Must not import torch: fast start-up.
"""

# Figures. The series are the colours of Okabe and Ito 2008, which colour-blind readers can distinguish.
FIGURE_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
FIGURE_INK = "#22272e"  # text, and lines that stand for all tasks
FIGURE_FAINT = "#8b949e"  # zeros of a confusion matrix
FIGURE_PAPER = "#ffffff"  # the gaps between the cells of a confusion matrix, and the text of dark cells
FIGURE_AXES = "#c4cad1"
FIGURE_GRID = "#e8ebee"
FIGURE_BAND = "#f1f3f5"  # the background of sequential epochs
FIGURE_BAND_IN_LEGEND = "#e6e9ec"
FIGURE_SHARES = ("#f5f8fb", "#c5dbee", "#6aa6d3", "#1f6cae", "#08306b")  # of a confusion matrix, from 0 to 1

# Pages: the series of SVG charts, c0, c1 and so on in the style sheet.
_LIGHT_SERIES = ("#1f6fbf", "#c4510a", "#14805e", "#a8478a", "#806600", "#2a8fb3", "#6a4fc0", "#5c646d")
_DARK_SERIES = ("#6cb0ff", "#ff9b57", "#4fd0a0", "#f2a6d4", "#e3c84b", "#7fd6f5", "#bba6ff", "#aab3bd")
PAGE_SERIES = len(_LIGHT_SERIES)
"""Number of colours of the series; further series use them again."""

_LIGHT = {
    "ink": "#1b1f24",  # text
    "soft": "#57606a",  # notes, headings of tables, axes of charts
    "line": "#d8dee4",  # lines of tables, grids of charts
    "paper": "#fff",
    "band": "#f5f7f9",  # the background of cards, code and groups
    "mark": "#0a5c36",  # the best scores
    "bad": "#a40e26",
    "shade": "#4f8fe6",  # the largest share in a confusion matrix
    "shadow": "#0003",  # at the edge of a table that scrolls
    "bar": "#8b949e",  # the scroll bar
}
_DARK = {
    "ink": "#e6edf3",
    "soft": "#9aa4af",
    "line": "#30363d",
    "paper": "#0d1117",
    "band": "#161b22",
    "mark": "#6fdd8b",
    "bad": "#ff9492",
    "shade": "#2f6fd0",
    "shadow": "#fff3",
    "bar": "#6e7681",
}


def _named(colours: dict[str, str], series: tuple[str, ...]) -> dict[str, str]:
    return {**colours, **{f"c{number}": colour for number, colour in enumerate(series)}}


PAGE_COLOURS = {"light": _named(_LIGHT, _LIGHT_SERIES), "dark": _named(_DARK, _DARK_SERIES)}
"""For each colour scheme, the colours of a page by their names in the style sheet."""
