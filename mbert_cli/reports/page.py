"""The HTML page of `mbert report`: a comparison of the runs, then a part for each run.

Must not import torch: fast start-up.
"""

from collections.abc import Sequence

from mbert_cli.messages import one_line
from mbert_cli.reports.html import html_page
from mbert_cli.reports.page_comparison import comparison_of, differences_of, progress_of
from mbert_cli.reports.page_run import run_part
from mbert_cli.reports.run_report import RunReport


def report_page(runs: Sequence[RunReport]) -> str:
    """Return the page of one or several runs. It refers to no other files."""
    several = len(runs) > 1
    title = f"{len(runs)} runs" if several else runs[0].path.name
    return html_page(
        "report.html",
        title=one_line(title),
        runs=[run_part(run) for run in runs],
        comparison=comparison_of(runs) if several else None,
        progress=progress_of(runs) if several else [],
        differences=differences_of(runs) if several else [],
        names=[one_line(str(run.path)) for run in runs],
    )
