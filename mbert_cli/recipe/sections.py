"""The recipe: the sections that say what a run is made of, typed and frozen. No torch here."""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from mbert_cli.recipe.document import Document, dotted
from mbert_cli.recipe.yaml_text import dump

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
DEFAULT_ID = "id"
"""The column of ids of a task that names none."""


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


def _soft(value: Any) -> float | Literal["annealed"] | None:
    if value is None or value == "annealed":
        found: Literal["annealed"] | None = value
        return found
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    raise ValueError("must be annealed, or a share of the loss above 0 and at most 1")


_SoftShare = Annotated[float, Field(gt=0, le=1)]
SoftShare = Annotated[
    float | Literal["annealed"] | None,
    PlainValidator(_soft, json_schema_input_type=_SoftShare | Literal["annealed"] | None),
]
"""The soft labels' share of a task's loss; None where it has no such."""


_HIGH_RATE, _HIGH_RATE_OF_NEW = 0.01, 0.1  # of the encoder; of parameters that start from random values


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

    def describe(self) -> str:
        """Return the component as one word, or with its options: ``low_rank(rank=204)``."""
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
        dropout: probability that training drops a feature of a sublayer's output, or an attention weight; by default
            the checkpoint's own, which is 0.1 for nearly all. Runs of few passes may learn more with less.
        shape: sizes, for counting parameters where neither files nor a well-known name tell them.
    """

    checkpoint: str
    revision: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    reinitialise: Layers = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
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
        id: column that names a row in `--format cs224n`; null: there is none. In training and dev files a row that
            repeats an id is bad; where the column is the default, `id`, repeated ids are a warning.
        quoting: `csv` for RFC 4180 quotes, `none` where a quote is a character like any other (GLUE's files). `auto` is
            `csv`, but a quoted cell whose lines could each be a row is a bad row: its quotes may be text.
        delimiter: `auto` is the first of tab, comma and semicolon that the header holds, else a tab. `pipe` is never
            guessed.
        on_bad_row: `error` refuses the file and lists its first 20 bad rows; `skip` leaves bad rows out, counted and
            listed.
        token_dropout: share of the tokens that [MASK] stands for in training; see `token_dropout`.
        encoder_dropout: what `encoder.dropout` is for this task alone, its adapters included; a step then holds tasks
            that want the same, see `encoder_dropout`.
        symmetric: the two texts of a pair may change places: they do so at random in training, and a prediction is the
            mean of what the head puts out for either order; see `pair_order`.
        soft_labels: the training file holds what another model predicts, too, in the columns that `mbert predict`
            appends; this is their share of the loss, or `annealed`: from 1 down to 0. See `soft_labels`.
    """

    train: str
    dev: str
    test: str | None = None
    text: Annotated[list[str], Field(min_length=1, max_length=2)]
    label: str
    head: Component
    columns: Mapping[str, str] = {}
    id: str | None = DEFAULT_ID
    quoting: Literal["auto", "csv", "none"] = "auto"
    delimiter: Literal["auto", "tab", "comma", "semicolon", "pipe"] = "auto"
    on_bad_row: Literal["error", "skip"] = "error"
    token_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    encoder_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    symmetric: bool = False
    soft_labels: SoftShare = None

    @property
    def column_names(self) -> list[str]:
        """All columns that the task knows, by the recipe's names."""
        return [*self.text, self.label, *([self.id] if self.id else [])]


class TrainingSection(Section):
    """How the model is trained.

    Args:
        epochs: passes of the curriculum.
        batch_size: examples of each task in a step.
        learning_rate: of the encoder.
        layer_decay: what the learning rate is multiplied by from each of the encoder's layers to the one below it, and
            from the lowest to the embeddings; with less than 1 the lower layers stay nearer to their pretraining.
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
        select_after: share of the epochs that must have passed before a model is scored on dev and can be the best;
            with 0.5 the best of six is the fourth, fifth or sixth. A run that is stopped sooner has no model yet.
        state_every: how often an epoch's progress is saved, beside its end: a number of steps, or of minutes (`10min`);
            null saves at ends of epochs only.
        keep: how many of those states are kept.
        seed: everything random is a function of it.
        members: how many models are trained, each with a seed of its own, to predict together; see `ensemble`.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 20
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    learning_rate: PositiveFloat = 1e-5
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
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

    def warnings(self) -> list[str]:
        """Return which learning rates are far above what any training needs."""
        rates = {
            "learning_rate": (self.learning_rate, _HIGH_RATE),
            "adapter_learning_rate": (self.adapter_learning_rate, _HIGH_RATE_OF_NEW),
            "head_learning_rate": (self.head_learning_rate, _HIGH_RATE_OF_NEW),
        }
        return [
            f"training.{name} is {rate:g}: above {most:g} hardly any training succeeds; usual are 1e-5 to 1e-3"
            for name, (rate, most) in rates.items()
            if rate is not None and rate > most
        ]

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

    def describe_adapters(self) -> str:
        """Return the adapters in one line: ``low_rank(rank=204) + top``."""
        return " + ".join(each.describe() for each in self.adapters) or "none"

    def to_yaml(self) -> str:
        """Return the recipe with every default spelled out; reading it gives an equal recipe."""
        return dump(as_spec(self))


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


# Of no effect on a run's result.
_SAVING = ("state_every", "keep")


def result_spec(recipe: Recipe) -> dict[str, Any]:
    """Return what a run's result follows from: the recipe less how it is compared, kept and told of."""
    spec = {key: value for key, value in as_spec(recipe).items() if key not in ("reference", "card")}
    spec["training"] = {key: value for key, value in spec["training"].items() if key not in _SAVING}
    # `auto` reads a file as `csv` does, which was the default once, or refuses it.
    spec["tasks"] = {
        name: {**task, "quoting": "none" if task["quoting"] == "none" else "csv"}
        for name, task in spec["tasks"].items()
    }
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
    return [_difference(key, then.get(key), now.get(key)) for key in changed]


def _difference(key: str, then: Any, now: Any) -> str:
    """Return what differs between two values; of long lists the first entry that does."""
    if isinstance(then, list) and isinstance(now, list) and max(len(then), len(now)) > _LONG:
        pairs = enumerate(zip_longest(then, now))
        place, (then, now) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        key = f"{key}[{place}]"
    return f"{key} was {then!r} and is now {now!r}"


_LONG = 12  # entries of a list
