"""The only file that turns recipe sections into objects.

File name = recipe name: `{kind: low_rank, rank: 8}` under `adapters` is the class `LowRank` of
`mbert_cli/adapters/low_rank.py`. Positional parameters of its constructor come from the program; keyword-only ones are
exactly what a recipe may say.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import nn

from mbert_cli.budget import parameters_within
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.bert import BertEncoder
from mbert_cli.encoder.checkpoint import known_shape, read_shape, shape_problem
from mbert_cli.encoder.initialisation import initialise, shapes_only
from mbert_cli.encoder.location import is_local, locate
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError, OptionError, RecipeError
from mbert_cli.heads import Head
from mbert_cli.model import MultiTaskBert, TaskPart
from mbert_cli.pooling import Pooling
from mbert_cli.randomness import derive
from mbert_cli.recipe import Component, EncoderSection, ModelSection, Recipe, TaskSection
from mbert_cli.recipe_file import KeyPath, nearest
from mbert_cli.recipe_reader import explain, load
from mbert_cli.shipped_recipes import find

# What a component of each family is given by the program, to find out early whether it refuses its options.
_SMALL = EncoderShape(
    vocab_size=8, hidden_size=1 << 20, num_layers=1, num_heads=1, intermediate_size=8, max_positions=8
)
_GIVEN: dict[str, tuple[Any, ...]] = {
    "adapters": (_SMALL,),
    "heads": (8,),
    "loss_balancing": ({"a": "classification", "b": "regression"},),
    "curricula": (1,),
}


def kinds(family: str) -> list[str]:
    """Return the kinds of a family: the file names of its package.

    Args:
        family: `adapters`, `pooling`, `heads`, `loss_balancing` or `curricula`.
    """
    package = importlib.import_module(f"mbert_cli.{family}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def component_class(family: str, kind: str) -> type:
    """Return the class that a kind names: `LowRank` for `low_rank`."""
    module = importlib.import_module(f"mbert_cli.{family}.{kind}")
    found: type = getattr(module, "".join(word.capitalize() for word in kind.split("_")))
    return found


def options_model(component: type) -> type[BaseModel]:
    """Return a pydantic model of the keyword-only parameters of a component's constructor.

    An adapter with a rank or a length may have a `budget` in its place.
    """
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(component, eval_str=True).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (parameter.annotation, Field(default))
    if getattr(component, "size_option", None):
        fields["budget"] = (Any, Field(None))
    return create_model(component.__name__, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def problems(family: str, component: Component) -> list[tuple[KeyPath, str]]:
    """Return what is wrong with a component's kind and options, each with the path below the component."""
    known = kinds(family)
    if component.kind not in known:
        return [(("kind",), f"is '{component.kind}'{nearest(component.kind, known)}")]
    cls = component_class(family, component.kind)
    options = ["kind", *options_model(cls).model_fields]
    found: list[tuple[KeyPath, str]] = []
    try:
        with shapes_only():
            given = _checked_options(cls, component)
            if given.pop("budget", None) is not None:
                _check_budget(cls, component)
            else:
                cls(*_GIVEN.get(family, ()), **given)
    except ValidationError as error:
        for each in error.errors():
            option = str(each["loc"][0])
            unknown = each["type"] == "extra_forbidden"
            found.append(((option,), f"is not a known key{nearest(option, options)}" if unknown else explain(each)))
    except OptionError as error:
        found.append(((error.option,), f"{error.problem}."))
    return found


def _check_budget(cls: type[Adapter], component: Component) -> None:
    """Check a budget as far as that can be done without the encoder's sizes."""
    try:
        parameters_within(component.options["budget"], encoder=1_000_000)
    except ValueError as error:
        raise OptionError("budget", str(error)) from None
    if cls.size_option in component.options:
        raise OptionError("budget", f"stands in the place of {cls.size_option}; leave one of them out")


def _checked_options(cls: type, component: Component) -> dict[str, Any]:
    """Return a component's options with their values as annotated: 5 becomes 5.0 where a float is wanted."""
    checked = options_model(cls).model_validate(component.options)
    found = {option: getattr(checked, option) for option in component.options}
    if found.get("budget", "") is None:
        del found["budget"]  # no constructor knows it
    return found


def build(family: str, component: Component, *given: Any) -> Any:
    """Build the object that a component of a recipe names.

    Args:
        family: the package it is looked up in.
        component: kind and options, which `problems` has found to be right.
        given: what the program gives: the constructor's positional parameters.

    Raises:
        RecipeError: the component refuses an option.
    """
    cls = component_class(family, component.kind)
    try:
        return cls(*given, **_checked_options(cls, component))
    except OptionError as error:
        raise RecipeError(f"{component.place_of(error.option)} {error.problem}.") from None


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe, its components included.

    Args:
        name: a path, or the name of a shipped recipe.
        settings: `key=value` overrides.

    Raises:
        RecipeError: with all problems found, each with its place.
    """
    return load(find(name), settings, problems)


def encoder_shape(section: EncoderSection, download: bool = True) -> EncoderShape:
    """Return the sizes of a recipe's encoder.

    Args:
        section: the recipe's encoder.
        download: whether the hub may be asked. Without it sizes come from the recipe's `shape`, the checkpoint's
            folder, the table of well-known names or the local hub cache.

    Raises:
        CheckpointError: they cannot be had, or disagree with `shape`.
    """
    stated = _stated(section)
    if not download and not is_local(section.checkpoint):
        shape = EncoderShape(**stated) if stated else known_shape(section.checkpoint)
        if shape is not None:
            return _checked_shape(shape)
    try:
        shape = read_shape(locate(section.checkpoint, section.revision, download))
    except CheckpointError:
        if stated and not download:
            return _checked_shape(EncoderShape(**stated))
        raise
    for key, should in stated.items():
        if getattr(shape, key) != should:
            raise CheckpointError(
                f"encoder.shape.{key} is {should}, but the checkpoint's config.json says {getattr(shape, key)}."
            )
    return shape.dropping(section.dropout)


def _stated(section: EncoderSection) -> dict[str, Any]:
    """Return the sizes that a recipe states."""
    if section.shape is None:
        return {}
    return {key: value for key, value in section.shape.model_dump().items() if value is not None}


def _checked_shape(shape: EncoderShape) -> EncoderShape:
    problem = shape_problem(shape)
    if problem is not None:
        raise RecipeError(f"encoder.shape.{problem[0]} {problem[1]}.")
    return shape


def build_heads(tasks: Mapping[str, TaskSection], hidden_size: int) -> dict[str, Head]:
    """Build the heads of all tasks."""
    return {name: build("heads", task.head, hidden_size) for name, task in tasks.items()}


def build_model(section: ModelSection, shape: EncoderShape, encoder: BertEncoder, seed: int) -> MultiTaskBert:
    """Build a model around an encoder; what is random in it is a function of `seed`.

    Args:
        section: adapters, pooling and tasks.
        shape: the encoder's sizes.
        encoder: the encoder; adapters may take initial values from its last layer.
        seed: the run's seed.

    Raises:
        RecipeError: a component refuses one of its options at these sizes.
    """
    parts = {}
    with torch.random.fork_rng(devices=[]):
        for name, task in section.tasks.items():
            torch.manual_seed(derive(seed, "initial values", name))
            own = shape.dropping(task.encoder_dropout)
            adapters: list[Adapter] = [build("adapters", each, own) for each in section.adapters]
            parts[name] = TaskPart(adapters, build("heads", task.head, shape.hidden_size))
        for part in parts.values():
            for adapter in part.adapter_list():
                adapter.start_from(encoder.layers[-1])
    pooling: Pooling = build("pooling", section.pooling)
    return MultiTaskBert(encoder, pooling, parts)


def reinitialise(encoder: BertEncoder, layers: int | Literal["all"], seed: int) -> None:
    """Draw BERT's initial values for the uppermost layers of an encoder, or for `all` of it; a function of `seed`.

    Source: Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning", section 4: what the layers
    nearest to the output have learnt is of the pretraining's own task.
    """
    chosen: list[nn.Module] = [encoder] if layers == "all" else list(encoder.layers)[len(encoder.layers) - layers :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "initial values of the encoder"))
        for module in chosen:
            initialise(module)


def meta_model(section: ModelSection, shape: EncoderShape) -> MultiTaskBert:
    """Build a model without memory for its values, to count its parameters."""
    with shapes_only():
        return build_model(section, shape, BertEncoder(shape), seed=0)
