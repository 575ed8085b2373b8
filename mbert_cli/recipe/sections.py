"""The sections of a recipe, typed and frozen."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mbert_cli.recipe.describing import CardSection, ReferenceSection
from mbert_cli.recipe.document import Document, dotted
from mbert_cli.recipe.field_types import (
    Duration,
    Interval,
    LabelColumns,
    Layers,
    PositiveFloat,
    Share,
    Size,
    SoftShare,
    Texts,
    TrackerKinds,
)
from mbert_cli.recipe.folds import FoldSection
from mbert_cli.recipe.long_texts import WindowsSection
from mbert_cli.recipe.section import Section
from mbert_cli.recipe.yaml_text import dump

DEFAULT_ID = "id"
"""The column of row ids of a task that does not name one."""

MULTI_LABEL = "multi_label"
"""The kind of head whose labels may be in several columns."""


class Component(Section):
    """A component: the name of its file in one of the component packages, and its options.

    Args:
        kind: name of the file.
        options: keyword arguments of its class, checked by `components`.
        place: place in the recipe, for messages, e.g. `recipes/x.yaml:7: adapters[0]`.
        places: place of each option.
    """

    kind: str
    options: dict[str, Any] = {}
    place: str = ""
    places: dict[str, str] = {}

    def place_of(self, option: str) -> str:
        """Return the place and the name of an option, for messages."""
        return self.places.get(option, f"{self.place or self.kind}.{option}")

    def spec(self) -> dict[str, Any]:
        """Return the component as a mapping, in the form that a recipe has."""
        return {"kind": self.kind, **self.options}

    def describe(self) -> str:
        """Return the kind, with the options if there are any: ``low_rank(rank=204)``."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.kind}({options})" if options else self.kind


class ShapeSection(Section):
    """Sizes of an encoder; by default those of BERT-base, or of the family. See `encoder.shape.EncoderShape`."""

    family: str | None = None
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
    """The pretrained encoder.

    Args:
        checkpoint: name on the Hugging Face Hub, folder, or `package:NAME/path`.
        revision: branch, tag or commit on the Hub.
        sha256: expected SHA-256 of the weights file.
        reinitialise: number of upper layers that start from random values, or `all` for the embeddings and every layer;
            with `all`, only the tokenizer of the pretrained model is used.
        dropout: dropout probability of sublayer outputs and attention weights during training. Default: that of the
            checkpoint, usually 0.1. A lower value can help in short runs.
        shape: sizes, for counting parameters if neither the files nor a well-known name give them.
    """

    checkpoint: str
    revision: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    reinitialise: Layers = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    shape: ShapeSection | None = None


class TaskSection(Section):
    """A task: its files, its columns and its head.

    Args:
        train: training file.
        dev: dev file; the best model is chosen by its scores.
        test: test file, for `mbert evaluate --split test`.
        text: column of the text, or the two columns of a pair.
        label: column of the label; or several columns of 0 and 1, one for each label of a `multi_label` head.
        head: head of the task.
        columns: alternative names of columns: with `{text: review}`, `text` is read from the column `review` of a file
            that has no column `text`.
        id: column of row ids, used by `--format cs224n`; null for none. For `train` and `validate`, a row that repeats
            an id is a bad row; `evaluate` and `predict` accept it. With the default, `id`, repeated ids only cause a
            warning.
        quoting: `csv` for RFC 4180 quotes; `none` if quotes are ordinary characters, as in GLUE's files; `auto` is
            `csv`, but rejects a quoted cell with line breaks if each of its lines could be a row by itself: its quotes
            may be ordinary characters.
        delimiter: `auto` takes the first of tab, comma and semicolon that the header contains, or else tab. `auto`
            never chooses `pipe`.
        on_bad_row: `error` rejects the file and lists its bad rows by problem; `skip` leaves bad rows out, and
            counts and lists them.
        token_dropout: share of the tokens that training replaces by [MASK]; see `training/token_dropout.py`.
        encoder_dropout: dropout of the encoder and the adapters for this task, in place of `encoder.dropout`. Tasks
            with different values are not trained in the same step; see `training/encoder_dropout.py`.
        symmetric: the order of the two texts does not matter: training swaps them at random, and prediction averages
            the head's outputs for both orders; see `training/pair_order.py`.
        soft_labels: the training file also has the columns that `mbert predict` appends, with the predictions of
            another model. This is their share of the loss, or `annealed`: the share falls from 1 to 0. See
            `training/distillation.py`.
        learning_rate: learning rate of the task's adapters and head. Default: those of `training`.
        loss_weight: factor of the task's loss, before loss balancing.
        epoch_share: number of rows that an epoch counts for the task, divided by the rows of its training file. With
            0.25, an epoch reads a quarter of the rows, a new sample each time; with 2, it reads all rows twice.
        windows: read texts of more than `training.max_length` tokens in overlapping windows instead of cutting them;
            see `recipe/long_texts.py`.
        fold: take the dev rows from the training file, for `mbert cv`; `dev` must be the same file as `train`. See
            `recipe/folds.py`.
    """

    train: str
    dev: str
    test: str | None = None
    text: Texts
    label: LabelColumns
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
    learning_rate: PositiveFloat | None = None
    loss_weight: PositiveFloat = 1.0
    epoch_share: Annotated[float, Field(gt=0, le=1000)] = 1.0
    windows: WindowsSection | None = None
    fold: FoldSection | None = None

    @property
    def column_names(self) -> list[str]:
        """All columns of the task, with the names that the recipe uses."""
        group = self.fold.group if self.fold is not None else None
        return [*self.text, *self.label_columns, *(each for each in (self.id, group) if each)]

    @property
    def label_columns(self) -> list[str]:
        """The column of the label, or the columns."""
        return [self.label] if isinstance(self.label, str) else self.label


class TrainingSection(Section):
    """Training.

    Args:
        epochs: number of passes of the curriculum.
        batch_size: number of examples of each task in a step.
        accumulate: number of micro-batches that a step computes one after another, to use less memory. The result
            equals that of one batch up to rounding.
        learning_rate: learning rate of the encoder.
        layer_decay: ratio of the learning rate of a layer to that of the layer above it; the embeddings count as the
            lowest layer. With less than 1, lower layers stay closer to their pretrained values.
        adapter_learning_rate: learning rate of adapters. Default: learning_rate.
        head_learning_rate: learning rate of heads. Default: adapter_learning_rate.
        weight_decay: weight decay of AdamW, for matrices only: not for biases and LayerNorms.
        clip_norm: maximum norm of the gradient of all parameters in a step; null for no clipping.
        schedule: `constant`; or `linear` or `cosine`: warm-up, then decay to 0 on a line or on half a cosine; see
            `learning_rate_factor` in `training/optimizer.py`.
        warmup: share of all steps in which the learning rate rises; not for `constant`.
        max_length: maximum length of a sentence in tokens, with [CLS] and [SEP]; longer sentences are cut.
        strict_length: reject files with longer sentences.
        start_from: a run, or the folder of a saved model, whose adapters and heads are the initial values of tasks with
            the same name; see `training/start.py`. `encoder.checkpoint` can be the same run.
        freeze_encoder: do not train the encoder; adapters and heads are trained in the order of the curriculum.
        cache_features: compute the frozen encoder once for each sentence, without dropout, and keep its hidden states
            in a file during the run; only for adapters on top.
        gradient_checkpointing: compute the activations of each layer of the encoder again in the backward pass, instead
            of keeping them: less memory for long texts, more time, the same result.
        select: score that decides which model is kept: `overall`, or a metric of a task, e.g. `sts.pearson`.
        select_after: share of the epochs after which models are scored on dev and can be kept: with 0.5, the best of
            six epochs is the fourth, fifth or sixth. A run that stops earlier has no model.
        evaluate_every: number of steps after which models are scored on dev and can be kept, instead of at the end of
            each epoch. The end of the run is always scored.
        patience: end the run when the score has not improved for so many epochs or, with `evaluate_every`, evaluations.
            A curriculum that trains the tasks one after another completes the epoch first.
        max_steps: maximum number of steps of the run. A schedule that decays reaches 0 there.
        max_time: end the run at the first step after this time (`45s`, `30min`, `2h`), then score and save it. The
            time before a resume counts. The schedule does not depend on it. Each member of an ensemble has this time.
        state_every: interval between saved states, besides the end of each epoch: a number of steps, or a time
            (`10min`); null saves only at the end of each epoch.
        keep: number of saved states that are kept.
        track: trackers that receive the losses and scores, such as `[tensorboard]`; see `training/trackers.py`.
        seed: seed of all random numbers.
        members: number of models that are trained with different seeds and predict together; see `model/ensemble.py`.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 20
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    accumulate: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    learning_rate: PositiveFloat = 1e-5
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    adapter_learning_rate: PositiveFloat | None = None
    head_learning_rate: PositiveFloat | None = None
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    clip_norm: PositiveFloat | None = 1.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Share = 0.1
    max_length: Annotated[int, Field(ge=3, le=100_000)] = 128
    strict_length: bool = False
    start_from: str | None = None
    freeze_encoder: bool = False
    cache_features: bool = False
    gradient_checkpointing: bool = False
    select: str = "overall"
    select_after: Annotated[float, Field(ge=0, lt=1)] = 0.0
    evaluate_every: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    patience: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_steps: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    max_time: Duration = None
    state_every: Interval = "10min"
    keep: Annotated[int, Field(ge=1, le=1000)] = 2
    track: TrackerKinds = []
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 11711
    members: Annotated[int, Field(ge=1, le=100)] = 1

    @property
    def early_epochs(self) -> int:
        """Number of epochs before the first one that can be the best; less than the number of epochs."""
        early = int(self.select_after * self.epochs + 1e-9)  # 0.29 x 100 is 28.999999999999996
        return min(early, self.epochs - 1)

    @property
    def rounds(self) -> int | None:
        """Number of lines of metrics.jsonl after all epochs: one for each epoch, or for each member of an ensemble.

        It is None with `evaluate_every`, because it then depends on the data.
        """
        if self.members > 1:
            return self.members
        return self.epochs if self.evaluate_every is None else None


class ModelSection(Section):
    """The part of a recipe that a model is built from.

    Args:
        encoder: the encoder.
        adapters: the adapters of each task.
        pooling: the pooling, which all tasks share.
        tasks: the tasks.
        task_adapters: in a saved model, the adapters of tasks that were trained with others than `adapters`; they are
            not part of a recipe.
        document: the values as they were written; None if they were not read from a file.
    """

    encoder: EncoderSection
    adapters: tuple[Component, ...] = ()
    pooling: Component = Component(kind="mean")
    tasks: Mapping[str, TaskSection]
    task_adapters: Annotated[Mapping[str, tuple[Component, ...]], Field(exclude=True)] = {}
    document: Annotated[Document | None, Field(exclude=True, repr=False)] = None

    def adapters_of(self, task: str) -> tuple[Component, ...]:
        """Return the adapters of a task."""
        return self.task_adapters.get(task, self.adapters)

    def place(self, *path: str | int) -> str:
        """Return the place and the name of a value, for messages: ``x.yaml:7: tasks.sst.train``."""
        return f"{self.document.place(path)}: {dotted(path)}" if self.document else dotted(path)


class Recipe(ModelSection):
    """A complete recipe."""

    loss_balancing: Component = Component(kind="total")
    curriculum: Component = Component(kind="hybrid")
    training: TrainingSection = TrainingSection()
    reference: ReferenceSection | None = None
    card: CardSection = CardSection()

    def describe_adapters(self) -> str:
        """Return the adapters in one line: ``low_rank(rank=204) + top``."""
        return " + ".join(each.describe() for each in self.adapters) or "none"

    def to_yaml(self) -> str:
        """Return the recipe as YAML with all defaults; reading it gives an equal recipe."""
        return dump(as_spec(self))


def as_spec(value: Any) -> Any:
    """Return a section as the dicts and lists of a recipe."""
    if isinstance(value, Component):
        return value.spec()
    if isinstance(value, BaseModel):
        return {key: as_spec(getattr(value, key)) for key, info in type(value).model_fields.items() if not info.exclude}
    if isinstance(value, Mapping):
        return {key: as_spec(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_spec(each) for each in value]
    return value
