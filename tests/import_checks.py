"""Check the types and shapes of the arguments and results of all annotated functions, while testing."""

import inspect
import typing
from functools import partial, wraps

import jaxtyping
from beartype import beartype

_jaxtyped = jaxtyping.jaxtyped


def install(package: str) -> None:
    """Check the functions of all modules of a package that are imported later.

    jaxtyping's hook decorates them. The decorator here replaces its own, which takes several times as long.
    """
    jaxtyping.jaxtyped = _checked
    jaxtyping.install_import_hook(package, "beartype.beartype")


def _checked(value=None, *, typechecker):
    """Stand in for `jaxtyping.jaxtyped`."""
    if value is None:
        return partial(_checked, typechecker=typechecker)
    try:
        hints = typing.get_type_hints(value) if inspect.isfunction(value) else None
    except NameError:  # a name that is imported for type checkers only
        hints = None
    if hints is None:
        return _jaxtyped(value, typechecker=typechecker)
    checked = beartype(value)
    shapes = any("[Tensor," in str(hint) or "[ndarray," in str(hint) for hint in hints.values())
    return _with_one_size_for_each_axis(checked) if shapes else checked


def _with_one_size_for_each_axis(function):
    """Give all axes of the same name in the annotations of a function the same size during each call."""

    @wraps(function)
    def call(*args, **kwargs):
        with _jaxtyped("context"):
            return function(*args, **kwargs)

    return call
