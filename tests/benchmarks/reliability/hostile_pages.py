"""Texts that look like scripts, in every place of an HTML page that shows a text of the user: they stay text."""

import io
import json
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path

import stand_in
from experiment import Chance, Experiment, check, once
from processes import make_recipe

from mbert_cli.messages import one_line
from mbert_cli.sweeps.folder import SweepFolder
from mbert_cli.sweeps.formats import as_html
from mbert_cli.sweeps.plan import read_plan
from mbert_cli.sweeps.results import read_results
from mbert_cli.sweeps.run import Options

_RUN = "alert(1)"
_TEXTS = [
    f"<script>{_RUN}</script>",
    f"<SCRIPT>{_RUN}</SCRIPT>",
    "<script src=//x.example></script>",
    f"</td></tr></table><script>{_RUN}</script>",
    f"</title><script>{_RUN}</script>",
    f"</style><script>{_RUN}</script>",
    f"--><script>{_RUN}</script>",
    f"]]><script>{_RUN}</script>",
    f"<scr<script>ipt>{_RUN}</script>",
    f"<script\n>{_RUN}</script\n>",
    f"<script/x>{_RUN}</script>",
    f"<<script>{_RUN}//<</script>",
    f"<img src=x onerror={_RUN}>",
    f'"><img src=x onerror={_RUN}>',
    f"'><img src=x onerror={_RUN}>",
    f"<img src=x onerror={_RUN}//",
    f'" onmouseover="{_RUN}" x="',
    f"' onmouseover='{_RUN}' x='",
    f"` onmouseover=`{_RUN}",
    f"<svg onload={_RUN}>",
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg/onload={_RUN}>",
    f"<math><mi//xlink:href='data:x,<script>{_RUN}</script>'>",
    f"<body onload={_RUN}>",
    f"<iframe src='javascript:{_RUN}'></iframe>",
    f"<iframe srcdoc='<script>{_RUN}</script>'>",
    f"<a href='javascript:{_RUN}'>x</a>",
    f"<object data='data:text/html,<script>{_RUN}</script>'>",
    f"<embed src='javascript:{_RUN}'>",
    f"<form action='javascript:{_RUN}'><button>x</button></form>",
    f"<input autofocus onfocus={_RUN}>",
    f"<details open ontoggle={_RUN}>x</details>",
    f"<video><source onerror={_RUN}></video>",
    f"<base href='javascript:{_RUN}//'>",
    f"<meta http-equiv=refresh content='0;url=javascript:{_RUN}'>",
    "<link rel=stylesheet href=//x.example>",
    "<style>@import '//x.example';</style>",
    f"<template><script>{_RUN}</script></template>",
    f"{{{{ cycler.__init__.__globals__.os.system('{_RUN}') }}}}",
    f"{{% include '/etc/passwd' %}}{{# {_RUN} #}}",
    f"&lt;script&gt;{_RUN}&lt;/script&gt;",
    f"&#60;script&#62;{_RUN}",
    f"\\u003cscript\\u003e{_RUN}",
    f"+ADw-script+AD4-{_RUN}",
    f"%3Cscript%3E{_RUN}",
]
_PLACES = ("title", "group", "name", "source", "log", "folder")


class _Page(HTMLParser):
    """A page's nodes with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.nodes: list[object] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.nodes.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.nodes.append(tag)

    def handle_decl(self, decl: str) -> None:
        self.nodes.append(decl)

    def handle_comment(self, data: str) -> None:
        self.nodes.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(folder: Path, place: str, text: str) -> str:
    """Return the page of a sweep with the text in one place. The sweep has two rows, and the second one failed."""
    texts = {each: text if each == place else "harmless" for each in _PLACES}
    recipe = str(once(folder, "tiny", make_recipe) / "recipe.yaml")
    reference = json.dumps({"source": texts["source"], "scores": {"mood": 0.5}})
    settings = ["training.epochs=1", f"reference={reference}"]
    rows = [
        {"group": texts["group"], "name": texts["name"], "recipe": recipe, "settings": settings},
        {"group": texts["group"], "name": f"{texts['name']} failed", "recipe": recipe, "settings": ["adapters=[]"]},
    ]
    plan_file = folder / "plan.yaml"
    plan_file.write_text(json.dumps({"title": texts["title"], "rows": rows}), encoding="utf-8")  # JSON is YAML
    plan = read_plan(plan_file, lambda *_: [])
    sweep = SweepFolder(folder / texts["folder"].replace("/", "_"))
    sweep.path.mkdir()
    runs = sweep.runs_of(plan)
    done, failed = runs.in_turn(plan.rows)
    for run in (done, failed):
        run.begin(Options(), None)
    with redirect_stdout(io.StringIO()):
        stand_in.train(done.recipe, done.folder, False, False, None, {"device": "cpu", "precision": "fp32"})
    failed.log.write_text(texts["log"].replace("\n", " ") + "\n", encoding="utf-8")
    failed.note_end(2)
    return as_html(read_results(plan, runs))


def _stays_text(chance: Chance, folder: Path) -> None:
    text, place = _TEXTS[chance.index // len(_PLACES)], _PLACES[chance.index % len(_PLACES)]
    for each in ("hostile", "harmless"):
        (folder / each).mkdir()
    found = _Page(_page(folder / "hostile", place, text))
    expected = _Page(_page(folder / "harmless", place, "harmless"))
    check(found.nodes == expected.nodes, f"{text!r} as {place} changed the nodes of the page")
    changed = {"folder": text.replace("/", "_"), "log": text.replace("\n", " ")}.get(place, text)
    shown = one_line(changed)
    check(shown in found.text, f"{text!r} as {place} is not shown unchanged")


hostile_pages = Experiment(
    20,
    f"{len(_TEXTS)} scripts injected as titles, groups, names, sources, paths and errors of a sweep's page: its HTML "
    "structure does not change",
    len(_TEXTS) * len(_PLACES),
    12,
    _stays_text,
)
