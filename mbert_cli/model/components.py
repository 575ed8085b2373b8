"""Find components by name, check their options and build them."""

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from mbert_cli.curricula import Curriculum
from mbert_cli.data.labels import Labels
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.initialisation import shapes_only
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import OptionError, RecipeError
from mbert_cli.heads import Head
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.messages import nearest
from mbert_cli.pooling import Pooling
from mbert_cli.recipe.budget import parameters_within
from mbert_cli.recipe.document import KeyPath
from mbert_cli.recipe.reader import load
from mbert_cli.recipe.sections import Component, Recipe
from mbert_cli.recipe.shipped import find
from mbert_cli.recipe.validation_message import unknown_key_message, validation_message
from mbert_cli.tracking import Tracker

_BASES: dict[str, type] = {
    "adapters": Adapter,
    "pooling": Pooling,
    "heads": Head,
    "loss_balancing": LossBalancing,
    "curricula": Curriculum,
    "tracking": Tracker,
}
# Positional arguments for components of each family, to check their options before the real arguments are known.
_SMALL = EncoderShape(
    vocab_size=8, hidden_size=1 << 20, num_layers=1, num_heads=1, intermediate_size=8, max_positions=8
)
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "adapters": (_SMALL,),
    "heads": (8,),
    "loss_balancing": ({"a": "classification", "b": "regression"},),
    "curricula": (1,),
}


def kinds(family: str) -> list[str]:
    """Return the kinds of a family: the file names of its package. Packages inside it are not kinds.

    Args:
        family: `adapters`, `pooling`, `heads`, `loss_balancing`, `curricula` or `tracking`.
    """
    package = importlib.import_module(f"mbert_cli.{family}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)


def component_class(family: str, kind: str) -> type:
    """Return the class of a kind: `LowRank` for `low_rank`, `LoRA` for `lora`.

    The class is defined in the module of that name, is a subclass of the family's base class, and has the kind as its
    name, apart from capitals and underscores.
    """
    return class_in(importlib.import_module(f"mbert_cli.{family}.{kind}"), _BASES[family])


def class_in(module: ModuleType, base: type) -> type:
    """Return the class that gives a component's module its name; a module defines exactly one such class."""
    name = module.__name__.rpartition(".")[2].replace("_", "")
    defined = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    classes = [each for each in defined if issubclass(each, base) and each.__name__.lower() == name]
    assert len(classes) == 1, (
        f"{module.__name__}: must define exactly one subclass of {base.__name__} whose name in lower case is '{name}', "
        f"but defines {', '.join(each.__name__ for each in classes) or 'none'}."
    )
    return classes[0]


@cache
def options_model(component: type) -> type[BaseModel]:
    """Return a pydantic model of the keyword-only parameters of a component's constructor.

    An adapter with a rank or a length also accepts a `budget` instead of it.
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
    """Return the problems of a component's kind and options, each with its path below the component."""
    known = kinds(family)
    if component.kind not in known:
        return [(("kind",), f"is '{component.kind}'{nearest(component.kind, known)}")]
    cls = component_class(family, component.kind)
    options = ["kind", *options_model(cls).model_fields]
    wrong: list[tuple[KeyPath, str]] = []
    try:
        with shapes_only():
            checked = _checked_options(cls, component)
            if checked.pop("budget", None) is not None:
                _check_budget(cls, component)
            else:
                cls(*_ARGUMENTS.get(family, ()), **checked)
    except ValidationError as error:
        for each in error.errors():
            option = str(each["loc"][0])
            unknown = each["type"] == "extra_forbidden"
            what = unknown_key_message(option, options) if unknown else f"{validation_message(each)}."
            wrong.append(((option,), what))
    except OptionError as error:
        wrong.append(((error.option,), f"{error.problem}."))
    return wrong


def _check_budget(cls: type[Adapter], component: Component) -> None:
    """Check everything about a budget that does not depend on the sizes of the encoder."""
    try:
        parameters_within(component.options["budget"], encoder=1_000_000)
    except ValueError as error:
        raise OptionError("budget", str(error)) from None
    if cls.size_option in component.options:
        raise OptionError("budget", f"replaces {cls.size_option}; remove one of them")


def _checked_options(cls: type, component: Component) -> dict[str, Any]:
    """Return a component's options with values of the annotated types, for example 5.0 for 5 if it is a float."""
    checked = options_model(cls).model_validate(component.options)
    options = {option: getattr(checked, option) for option in component.options}
    if options.get("budget", "") is None:
        del options["budget"]  # constructors do not have this parameter
    return options


def build(family: str, component: Component, *given: Any) -> Any:
    """Build a component of a recipe.

    Args:
        family: the family of the component.
        component: kind and options, already checked by `problems`.
        given: the positional arguments of the constructor.

    Raises:
        RecipeError: the component rejects an option.
    """
    cls = component_class(family, component.kind)
    try:
        return cls(*given, **_checked_options(cls, component))
    except OptionError as error:
        raise RecipeError(f"{component.place_of(error.option)} {error.problem}.") from None


def build_labels(head: Component) -> Labels:
    """Build the labels that a head's section describes, without the head.

    The head's `labels_from` receives the options that it names. An option that the section leaves out has the default
    of the head's constructor.

    Args:
        head: kind and options, which `problems` has checked.

    Raises:
        RecipeError: the labels reject an option.
    """
    cls: type[Head] = component_class("heads", head.kind)
    options = options_model(cls).model_validate(head.options)
    needed = inspect.signature(cls.labels_from).parameters
    try:
        return cls.labels_from(**{name: getattr(options, name) for name in needed})
    except OptionError as error:
        raise RecipeError(f"{head.place_of(error.option)} {error.problem}.") from None


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe, including its components.

    Args:
        name: a path, or the name of a shipped recipe.
        settings: `key=value` overrides.

    Raises:
        RecipeError: the recipe has problems; all are listed, each with its place.
    """
    return load(find(name), settings, problems)
