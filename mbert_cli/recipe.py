"""The recipe: what a run is made of, read from YAML, checked, and frozen. No torch here."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from mbert_cli.errors import RecipeError
from mbert_cli.recipe_file import Document, KeyPath, dotted, dump, nearest, override, read_document, read_text, shown

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]


def _interval(value: Any) -> int | str | None:
    steps = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value is None or steps or (isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,5}min", value)):
        found: int | str | None = value
        return found
    raise ValueError("must be a number of steps, such as 500, or of minutes, such as 10min")


_Steps = Annotated[int, Field(ge=1)]
_Minutes = Annotated[str, Field(pattern="^[1-9][0-9]{0,5}min$")]
Interval = Annotated[int | str | None, PlainValidator(_interval, json_schema_input_type=_Steps | _Minutes | None)]
"""A number of steps, or of minutes: ``500``, ``10min``; None for never."""


def _layers(value: Any) -> int | Literal["all"]:
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        found: int | Literal["all"] = value
        return found
    raise ValueError("must be a number of layers, or all")


_Number = Annotated[int, Field(ge=0)]
Layers = Annotated[int | Literal["all"], PlainValidator(_layers, json_schema_input_type=_Number | Literal["all"])]
"""A number of layers, or all of the encoder."""


class Section(BaseModel):
    """A part of a recipe: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class Component(Section):
    """Names a file of one of the component packages, and its options.

    Args:
        kind: the file's name.
        options: keyword arguments of its class, checked by `compose`.
        place: where it was written, for messages, e.g. `recipes/x.yaml:7: adapters[0]`.
        places: where each option was written.
    """

    kind: str
    options: dict[str, Any] = {}
    place: str = ""
    places: dict[str, str] = {}

    def place_of(self, option: str) -> str:
        """Return where an option was written and what it is called, for messages."""
        return self.places.get(option, f"{self.place or self.kind}.{option}")

    def spec(self) -> dict[str, Any]:
        """Return the component as a recipe writes it."""
        return {"kind": self.kind, **self.options}

    @property
    def told(self) -> str:
        """The component as one word, or with its options: ``low_rank(rank=204)``."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.kind}({options})" if options else self.kind


class ShapeSection(Section):
    """Sizes of an encoder; what is not said is BERT-base's. See `encoder.shape.EncoderShape`."""

    vocab_size: Size | None = None
    hidden_size: Size | None = None
    num_layers: Size | None = None
    num_heads: Size | None = None
    intermediate_size: Size | None = None
    max_positions: Size | None = None
    type_vocab_size: Size | None = None
    activation: str | None = None
    layer_norm_eps: PositiveFloat | None = None
    dropout: Share | None = None
    attention_dropout: Share | None = None


class EncoderSection(Section):
    """Where the pretrained encoder comes from.

    Args:
        checkpoint: hub name, folder, or `package:NAME/path`.
        revision: branch, tag or commit on the hub.
        sha256: what the SHA-256 of the weights file must be.
        reinitialise: how many of the uppermost layers start from random values, or `all`: the embeddings and every
            layer, so that nothing of the pretraining is left but the tokenizer.
        shape: sizes, for counting parameters where neither files nor a well-known name tell them.
    """

    checkpoint: str
    revision: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    reinitialise: Layers = 0
    shape: ShapeSection | None = None


class TaskSection(Section):
    """One task: its files, its columns and its head.

    Args:
        train: training file.
        dev: file that the best model is chosen on.
        test: file for `mbert evaluate --split test`.
        text: column of the sentence, or the two columns of a pair.
        label: column of the label.
        head: the task's head.
        columns: other names of columns, for files that call them so: `{text: review}` reads `text` in `review`
            wherever a file has no `text`.
        id: column that names a row in `--format cs224n`.
        quoting: `csv` for RFC 4180 quotes, `none` where a quote is a character like any other (GLUE's files).
        delimiter: `auto` is the first of tab, comma and semicolon that the header holds, else a tab.
        on_bad_row: `error` stops at the first; `skip` leaves bad rows out, counted and listed.
        token_dropout: share of the tokens that [MASK] stands for in training; see `token_dropout`.
        symmetric: the two texts of a pair may change places: they do so at random in training, and a prediction is the
            mean of what the head puts out for either order; see `pair_order`.
    """

    train: str
    dev: str
    test: str | None = None
    text: Annotated[list[str], Field(min_length=1, max_length=2)]
    label: str
    head: Component
    columns: Mapping[str, str] = {}
    id: str = "id"
    quoting: Literal["csv", "none"] = "csv"
    delimiter: Literal["auto", "tab", "comma", "semicolon"] = "auto"
    on_bad_row: Literal["error", "skip"] = "error"
    token_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    symmetric: bool = False

    @property
    def column_names(self) -> list[str]:
        """All columns that the task knows, by the recipe's names."""
        return [*self.text, self.label, self.id]


class TrainingSection(Section):
    """How the model is trained.

    Args:
        epochs: passes of the curriculum.
        batch_size: examples of each task in a step.
        learning_rate: of the encoder.
        adapter_learning_rate: of adapters; learning_rate by default.
        head_learning_rate: of heads; adapter_learning_rate by default.
        weight_decay: AdamW's, on matrices only: not on biases and LayerNorms.
        clip_norm: largest gradient norm over all parameters of a step; null does not clip.
        schedule: `constant`, or `linear`: warm-up, then linear decay to 0.
        warmup: share of all steps in which the learning rate rises; `linear` only.
        max_length: longest sentence in tokens, [CLS] and [SEP] included; longer ones are cut.
        strict_length: refuse files that hold longer ones.
        freeze_encoder: leave the encoder as it is; adapters and heads train, in the order that the curriculum says.
        cache_features: compute the frozen encoder once for every sentence, without dropout, and keep its hidden states
            in a file while the run lasts; for adapters on top.
        select: which score keeps the best model: `overall`, or a metric of a task, e.g. `sts.pearson`.
        select_after: share of the epochs that must have passed before a model can be the best; with 0.5 the best of six
            is the fourth, fifth or sixth. Of a run that ends sooner, the best so far is kept.
        state_every: how often an epoch's progress is saved, beside its end: a number of steps, or of minutes (`10min`);
            null saves at ends of epochs only.
        keep: how many of those states are kept.
        seed: everything random is a function of it.
        members: how many models are trained, each with a seed of its own, to predict together; see `ensemble`.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 20
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    learning_rate: PositiveFloat = 1e-5
    adapter_learning_rate: PositiveFloat | None = None
    head_learning_rate: PositiveFloat | None = None
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    clip_norm: PositiveFloat | None = 1.0
    schedule: Literal["constant", "linear"] = "constant"
    warmup: Share = 0.1
    max_length: Annotated[int, Field(ge=3, le=100_000)] = 128
    strict_length: bool = False
    freeze_encoder: bool = False
    cache_features: bool = False
    select: str = "overall"
    select_after: Annotated[float, Field(ge=0, lt=1)] = 0.0
    state_every: Interval = "10min"
    keep: Annotated[int, Field(ge=1, le=1000)] = 2
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 11711
    members: Annotated[int, Field(ge=1, le=100)] = 1

    @property
    def early_epochs(self) -> int:
        """How many epochs pass before one can be the best of all; at least one is left."""
        passed = int(self.select_after * self.epochs + 1e-9)  # 0.29 x 100 is 28.999999999999996
        return min(passed, self.epochs - 1)

    @property
    def rounds(self) -> int:
        """How many lines metrics.jsonl has in the end: one an epoch, or of an ensemble one a member."""
        return self.epochs if self.members == 1 else self.members


class ReferenceSection(Section):
    """Scores that a run is compared with, such as a paper's; nothing of a run's result follows from them.

    Args:
        source: where they were published, e.g. `Multi-BERT paper, Table 5, PAL`.
        scores: for a task the value of its main metric; tasks may be left out.
    """

    source: Annotated[str, Field(min_length=1)]
    scores: Annotated[Mapping[str, Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]], Field(min_length=1)]


class CardSection(Section):
    """What the model card says that nobody can know but you; nothing of a run's result follows from it.

    Args:
        title: of the card.
        license: of the model, as the Hub calls it, e.g. `mit`; think of the encoder's and the data's own terms.
        language: of the texts, e.g. `en`.
        description: what the model is for, and what it is not; Markdown.
        datasets: names on the Hub of what it was trained on; those that a task names as `hub:` are added.
    """

    title: str | None = None
    license: str | None = None
    language: str | None = None
    description: str | None = None
    datasets: list[str] = []


class ModelSection(Section):
    """What a model is built of: a recipe without its data's files and its training."""

    encoder: EncoderSection
    adapters: tuple[Component, ...] = ()
    pooling: Component = Component(kind="mean")
    tasks: Mapping[str, TaskSection]
    document: Annotated[Document | None, Field(exclude=True, repr=False)] = None

    def place(self, *path: str | int) -> str:
        """Return where a value was written and what it is called, for messages: ``x.yaml:7: tasks.sst.train``."""
        return f"{self.document.place(path)}: {dotted(path)}" if self.document else dotted(path)


class Recipe(ModelSection):
    """A whole recipe."""

    loss_balancing: Component = Component(kind="total")
    curriculum: Component = Component(kind="hybrid")
    training: TrainingSection = TrainingSection()
    reference: ReferenceSection | None = None
    card: CardSection = CardSection()

    @property
    def adapters_told(self) -> str:
        """The adapters in one line: ``low_rank(rank=204) + top``."""
        return " + ".join(each.told for each in self.adapters) or "none"

    def to_yaml(self) -> str:
        """Return the recipe with every default spelled out; reading it gives an equal recipe."""
        return dump(as_spec(self))


# Of no effect on a run's result.
_SAVING = ("state_every", "keep")


def result_spec(recipe: Recipe) -> dict[str, Any]:
    """Return what a run's result follows from: the recipe less how it is compared, kept and told of."""
    spec = {key: value for key, value in as_spec(recipe).items() if key not in ("reference", "card")}
    spec["training"] = {key: value for key, value in spec["training"].items() if key not in _SAVING}
    return spec


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return nested dicts as one: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    if isinstance(value, dict):
        return {
            key: leaf for name, each in value.items() for key, leaf in flat(each, f"{path}.{name}".strip(".")).items()
        }
    return {path: value}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two flat dicts, a sentence each."""
    changed = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    return [f"{key} was {then.get(key)!r} and is now {now.get(key)!r}" for key in changed]


ComponentCheck = Callable[[str, Component], list[tuple[KeyPath, str]]]
"""(family, component) to its problems: a path below the component, and what is wrong."""

PLANS = "plans"
"""The folder of the shipped recipes that holds plans of sweeps instead."""

_SectionType = TypeVar("_SectionType", bound=Section)


def as_spec(value: Any) -> Any:
    """Return a section as the plain dicts and lists that a recipe holds."""
    if isinstance(value, Component):
        return value.spec()
    if isinstance(value, BaseModel):
        return {key: as_spec(getattr(value, key)) for key, info in type(value).model_fields.items() if not info.exclude}
    if isinstance(value, Mapping):
        return {key: as_spec(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_spec(each) for each in value]
    return value


def shipped_folder() -> Path:
    """Return the folder of the recipes that come with mbert."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def find(name: str) -> Path:
    """Return the file of a recipe: a path, or a shipped recipe's name such as ``demo`` or ``paper/table5_pal``.

    Raises:
        RecipeError: there is no such file and no such shipped recipe.
    """
    path = Path(name)
    if os.path.exists(path) and not os.path.isdir(path):
        return path
    bare = name.removeprefix("recipes/").removesuffix(".yaml")
    shipped = shipped_names()
    if bare in shipped:  # also where a folder has its name: `mbert train -o demo` makes one
        return shipped_folder() / f"{bare}.yaml"
    if os.path.exists(path):
        return path
    hint = nearest(bare, shipped, listed_by="mbert recipes ls")
    raise RecipeError(f"{name}: there is no such recipe file, nor a shipped recipe of that name{hint}")


def shipped_names() -> list[str]:
    """Return the names of the recipes that come with mbert."""
    root = shipped_folder()
    names = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith(f"{PLANS}/"))


def description(name: str) -> str:
    """Return what a shipped recipe says of itself: its first line, where that is a comment."""
    with (shipped_folder() / f"{name}.yaml").open(encoding="utf-8") as file:
        line = file.readline()
    return line.removeprefix("#").strip() if line.startswith("#") else ""


def merged_text(path: Path) -> str:
    """Return a recipe as one file that may lie anywhere: what it extends is merged in, and its own comment kept.

    Files that it names relative to its own folder are named in full.

    Raises:
        RecipeError: it, or what it extends, cannot be read.
    """
    document = read_document(path)
    tasks = document.values.get("tasks")
    names = list(tasks) if isinstance(tasks, dict) else []
    for *above, key in (("encoder", "checkpoint"), *product(["tasks"], names, ["train", "dev", "test"])):
        section: Any = document.values
        for part in above:
            section = section.get(part) if isinstance(section, dict) else None
        text = section.get(key) if isinstance(section, dict) else None
        if isinstance(text, str) and not text.startswith(("~", "$")):
            file = document.place((*above, key)).folder / text
            section[key] = str(file) if os.path.exists(file) else text
    lines = read_text(path, str(path)).splitlines(keepends=True)
    return "".join(takewhile(lambda line: line.startswith("#"), lines)) + dump(document.values)


def load(path: Path, settings: Sequence[str], check: ComponentCheck) -> Recipe:
    """Read, merge and check a recipe.

    Args:
        path: the recipe file.
        settings: `key=value` overrides.
        check: tells what is wrong with a component's kind and options.

    Raises:
        RecipeError: with all problems found, each with its place.
    """
    document = read_document(path)
    override(document, settings)
    return validate(document, check)


def validate(document: Document, check: ComponentCheck) -> Recipe:
    """Check a document as a whole recipe; see `load`."""
    reader = Reader(document, check)
    values = document.values
    reader.known((), values, Recipe)
    found: dict[str, Any] = {
        "encoder": reader.encoder(),
        "adapters": reader.components("adapters"),
        "pooling": reader.component(("pooling",), "pooling", "mean"),
        "tasks": reader.tasks(),
        "loss_balancing": reader.component(("loss_balancing",), "loss_balancing", "total"),
        "curriculum": reader.component(("curriculum",), "curricula", "hybrid"),
        "training": reader.section(("training",), TrainingSection, default={}),
        "reference": reader.reference(),
        "card": reader.section(("card",), CardSection, default={}),
    }
    if reader.problems:
        raise RecipeError(*reader.problems)
    return Recipe.model_construct(document=document, **found)


class Reader:
    """Reads sections out of a document and collects what is wrong with them in `problems`.

    Args:
        document: what is read.
        check: tells what is wrong with a component's kind and options.
    """

    def __init__(self, document: Document, check: ComponentCheck) -> None:
        self.document = document
        self.check = check
        self.problems: list[str] = []

    def problem(self, path: KeyPath, what: str) -> None:
        """Note what is wrong with a value: the end of a sentence that begins with its place and key."""
        self.problems.append(f"{self.document.place(path)}: {dotted(path) or 'the recipe'} {what}")

    def value(self, path: KeyPath) -> Any:
        """Return what the document holds at a path; None where it holds nothing."""
        value: Any = self.document.values
        for part in path:
            try:
                value = value[part]
            except (KeyError, TypeError):
                return None
        return value

    def known(self, path: KeyPath, values: dict[str, Any], section: type[BaseModel]) -> None:
        """Check that a section knows all keys."""
        names = [name for name, info in section.model_fields.items() if not info.exclude]
        for key in values:
            if key not in names:
                self.problem((*path, key), f"is not a known key{nearest(key, names)}")

    def section(
        self, path: KeyPath, kind: type[_SectionType], default: Any = None, paths: Sequence[str] = (), **given: Any
    ) -> _SectionType | None:
        """Read one section; `given` holds fields that were read and checked already."""
        values = self.value(path)
        values = default if values is None else values
        if values is None:
            self.problem(path, f"is missing; it needs {_required(kind)}.")
            return None
        if not isinstance(values, dict):
            self.problem(path, f"must hold keys and values, but is {shown(values)}.")
            return None
        self.known(path, values, kind)
        fields = {key: value for key, value in {**values, **given}.items() if key in kind.model_fields}
        for key in paths:
            if isinstance(fields.get(key), str):
                fields[key] = self.resolved((*path, key), fields[key], key == "checkpoint")
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            for each in error.errors():
                self.problem((*path, *_location(each["loc"], fields)), explain(each))
            return None

    def encoder(self) -> EncoderSection | None:
        """Read the encoder, its sizes first."""
        path = ("encoder", "shape")
        shape = self.section(path, ShapeSection) if self.value(path) is not None else None
        return self.section(("encoder",), EncoderSection, paths=("checkpoint",), shape=shape)

    def reference(self) -> ReferenceSection | None:
        """Read the published scores; each must be of a task that the recipe has."""
        if self.value(("reference",)) is None:
            return None
        scores, tasks = self.value(("reference", "scores")), self.value(("tasks",))
        if isinstance(scores, dict) and isinstance(tasks, dict):
            for name in scores:
                if name not in tasks:
                    what = f"names no task of the recipe{nearest(name, list(tasks))}"
                    self.problem(("reference", "scores", name), f"{what} `reference: null` leaves all scores out.")
        return self.section(("reference",), ReferenceSection)

    def component(self, path: KeyPath, family: str, default: str | None = None) -> Component | None:
        """Read one component."""
        values = self.value(path)
        if values is None and default is not None:
            values = {"kind": default}
        if not isinstance(values, dict) or not isinstance(values.get("kind"), str):
            self.problem(path, f"must name a kind, such as {{kind: {default or 'classification'}}}.")
            return None
        options = {key: value for key, value in values.items() if key != "kind"}
        places = {key: f"{self.document.place((*path, key))}: {dotted((*path, key))}" for key in options}
        place = f"{self.document.place(path)}: {dotted(path)}"
        component = Component(kind=values["kind"], options=options, place=place, places=places)
        found = self.check(family, component)
        for below, what in found:
            self.problem((*path, *below), what)
        return None if found else component

    def components(self, key: str) -> tuple[Component, ...]:
        """Read a list of components."""
        items = self.document.values.get(key) or []
        if not isinstance(items, list):
            self.problem((key,), "must be a list, such as [{kind: low_rank}, {kind: top}].")
            return ()
        found = [self.component((key, index), key) for index in range(len(items))]
        return tuple(component for component in found if component is not None)

    def tasks(self) -> dict[str, TaskSection] | None:
        """Read all tasks."""
        tasks = self.document.values.get("tasks")
        if not isinstance(tasks, dict) or not tasks:
            self.problem(("tasks",), "must hold at least one task: a name with train, dev, text, label and head.")
            return None
        found: dict[str, TaskSection | None] = {}
        for name, values in tasks.items():
            path = ("tasks", name)
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
                self.problem(path, "must be named with letters, digits, - and _ only, at most 64.")
            if isinstance(values, dict) and isinstance(values.get("text"), str):
                values["text"] = [values["text"]]
            head = self.component((*path, "head"), "heads") if isinstance(values, dict) else None
            # A head that is wrong was reported; the rest of its task is still checked.
            given = {"head": head or Component(kind="unknown")}
            found[name] = self.section(path, TaskSection, paths=("train", "dev", "test"), **given)
        good = {name: task for name, task in found.items() if task is not None}
        return good if len(good) == len(found) else None

    def resolved(self, path: KeyPath, text: str, checkpoint: bool) -> str:
        """Expand ${VARIABLES} in a path and make it absolute."""
        place = self.document.place(path)
        try:
            expanded = expand(text)
        except KeyError as error:
            self.problem(path, f"uses ${{{error.args[0]}}}, which is not set; set it, or write ${{NAME:-default}}.")
            return text
        if not expanded:
            self.problem(path, "is empty.")
            return text
        if expanded.startswith("hub:") and not checkpoint:
            return expanded  # a data set of the Hub
        # What a variable says is said at the shell, hence relative to the working folder.
        folder = Path.cwd() if text.startswith("${") else place.folder
        if "\0" in expanded:
            self.problem(path, f"is {shown(expanded)}, but no file's name holds a NUL character.")
            return text
        full = os.path.normpath(folder / os.path.expanduser(expanded))
        looks_like_path = not checkpoint or re.match(r"[./~]|\$\{", text) or os.path.isdir(full)
        found = full if looks_like_path and not (checkpoint and expanded.startswith("package:")) else expanded
        try:
            found.encode()
        except UnicodeEncodeError:
            self.problem(path, f"is {shown(found)}, which is not UTF-8; rename the file or the folder.")
        return found


def expand(text: str) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}`` by environment variables.

    Raises:
        KeyError: a variable without a default is not set.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        found = os.environ.get(name) or default
        if found is None:
            raise KeyError(name)
        return found

    return re.sub(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*))?\}", value, text)


def explain(error: Any) -> str:
    """Return a pydantic error as the end of a sentence that begins with the key.

    Args:
        error: one of `ValidationError.errors()`.
    """
    if error["type"] == "missing":
        return "is missing."
    if error["type"] in ("too_short", "string_too_short"):
        return "is empty."
    what = error["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("should ", "must ", 1)
    what = what.replace("be a valid integer", "be a whole number").replace("be a valid ", "be a ")
    what = what.replace("be a dictionary", "hold keys and values")
    return f"{what}, but is {shown(error['input'])}."


def _location(location: tuple[str | int, ...], fields: dict[str, Any]) -> KeyPath:
    """Cut a pydantic location to the part that is in the recipe; unions add names of their branches."""
    path: list[str | int] = []
    value: Any = fields
    for part in location:
        if isinstance(value, dict) and (part in value or not path):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            break
        path.append(part)
    return tuple(path)


def _required(kind: type[BaseModel]) -> str:
    return ", ".join(key for key, info in kind.model_fields.items() if info.is_required())
