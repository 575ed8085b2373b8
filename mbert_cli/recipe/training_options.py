"""What a recipe says about training: unusual learning rates, keys without effect, options other than the defaults."""

from pathlib import PurePath
from typing import Any

from mbert_cli.recipe.section import Section
from mbert_cli.recipe.sections import Recipe, TaskSection

# Learning rates above which training rarely succeeds: of pretrained weights, and of weights that start at random.
_HIGH_RATE, _HIGH_RATE_OF_NEW = 0.01, 0.1
_LIMITS = ("patience", "max_steps", "max_time")
_OF_TASK, _OF_HEAD = (
    ("learning_rate", "loss_weight", "epoch_share"),
    ("label_smoothing", "focal", "class_weights", "positive_weight"),
)


def rate_warnings(recipe: Recipe) -> list[str]:
    """Return a warning for each learning rate that is far too high."""
    training = recipe.training
    rates = {
        "training.learning_rate": (training.learning_rate, _HIGH_RATE),
        "training.adapter_learning_rate": (training.adapter_learning_rate, _HIGH_RATE_OF_NEW),
        "training.head_learning_rate": (training.head_learning_rate, _HIGH_RATE_OF_NEW),
        **{
            f"tasks.{name}.learning_rate": (task.learning_rate, _HIGH_RATE_OF_NEW)
            for name, task in recipe.tasks.items()
        },
    }
    return [
        f"{name} is {rate:g}: training rarely succeeds above {most:g}; usual values are 1e-5 to 1e-3"
        for name, (rate, most) in rates.items()
        if rate is not None and rate > most
    ]


def unused_warnings(recipe: Recipe) -> list[str]:
    """Return a warning for each key that the recipe sets to a value of its own, and that has no effect."""
    training = recipe.training
    frozen = "the encoder is frozen"
    own_rates = training.head_learning_rate is not None and (
        training.adapter_learning_rate is not None or not recipe.adapters
    )
    reasons = {
        "learning_rate": (
            training.freeze_encoder and own_rates and "the encoder is frozen, and all other parts have their own rates"
        ),
        "layer_decay": training.freeze_encoder and frozen,
        "gradient_checkpointing": training.cache_features and "the encoder's features are cached",
        "warmup": training.schedule == "constant" and "the schedule is constant",
        "adapter_learning_rate": (
            not recipe.adapters and training.head_learning_rate is not None and "the recipe has no adapters"
        ),
    }
    warnings = [_unused("training", training, name, reason) for name, reason in reasons.items() if reason]
    for task, section in recipe.tasks.items():
        windows = section.windows
        if windows is not None and windows.pool == "first":
            place = f"tasks.{task}.windows"
            reason = "only the first window is read, because pool is first"
            warnings += [_unused(place, windows, name, reason) for name in ("stride", "most")]
    return [warning for warning in warnings if warning]


def _unused(place: str, section: Section, name: str, reason: str) -> str:
    """Return a warning if a section sets a key to a value that is not the default; otherwise an empty text."""
    value = getattr(section, name)
    if name not in section.model_fields_set or value == type(section).model_fields[name].default:
        return ""
    return f"{place}.{name} is {_shown(value)}, but has no effect: {reason}"


def _shown(value: Any) -> str:
    """Return a value as a recipe has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def training_options(recipe: Recipe) -> dict[str, str]:
    """Return the options of batches and tasks that differ from the defaults, for reports and model cards.

    Returns:
        A name and a text for each: ``{"training of mood": "loss_weight 2, focal 2"}``.
    """
    training = recipe.training
    options = {f"training of {name}": _options_of(task) for name, task in recipe.tasks.items()}
    if training.accumulate > 1:
        options = {"batches": f"{training.batch_size} rows in {training.accumulate} micro-batches", **options}
    if training.evaluate_every is not None:
        options["scored on dev"] = f"every {training.evaluate_every:,} steps"
    if training.start_from is not None:
        options["start"] = f"adapters and heads of {PurePath(training.start_from).name}"
    if training.schedule != "constant":
        options["learning rates"] = f"{training.schedule} schedule, warm-up in {training.warmup:.0%} of the steps"
    limits = {name: getattr(training, name) for name in _LIMITS}
    options["limits of training"] = ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit is not None)
    return {name: text for name, text in options.items() if text}


def _options_of(task: TaskSection) -> str:
    values = {name: getattr(task, name) for name in _OF_TASK if getattr(task, name) not in (None, 1.0)}
    sections = [each.describe() for each in (task.windows, task.fold) if each is not None]
    values |= {name: task.head.options[name] for name in _OF_HEAD if task.head.options.get(name)}
    return ", ".join([*(f"{name} {_shown(value)}" for name, value in values.items()), *sections])
