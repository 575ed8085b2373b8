"""Messages for command lines that the parser rejects."""

from typing import Any

from pydantic import ValidationError
from typer.exceptions import TyperException

from mbert_cli.messages import nearest
from mbert_cli.recipe.sections import TrainingSection
from mbert_cli.recipe.validation_message import OTHER_NAMES, validation_message

# What other tools call the encoder.
_ENCODER_NAMES = {"encoder", "checkpoint", "model", "base_model", "model_name", "model_name_or_path", "pretrained"}
_INSTEAD = {("compare", "split"): "to compare other rows, write --data TASK=FILE"}
"""What to write instead of an option that other commands have."""
_LEAST_LIKENESS = 0.75  # of an unknown and a suggested option; above the default, because all options begin with --
_WITH_OVERRIDES = ("train", "validate", "count-params")


def mistake(error: TyperException) -> str:
    """Return the message for an error of the command line, in one line: place, value, remedy.

    If a group of commands is called without a command, that is its help, or nothing if Rich has printed it.

    Args:
        error: Typer's error. Its classes are private, but their names and attributes are those that Click documents.
    """
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context else "mbert"
    match type(error).__name__:
        case "NoArgsIsHelpError":
            return error.format_message()
        case "NoSuchOption":
            option = getattr(error, "option_name", "")
            return f"{command}: there is no option {option}{_instead(option, context)}"
        case "MissingParameter":
            problem = f"{_parameter(error)} is missing."
        case "BadParameter" if isinstance(cause := error.__cause__, ValidationError):
            problem = _refusal(_parameter(error), cause)
        case _:
            problem = error.format_message()
    return f"{command}: {problem if problem.endswith(('.', '?')) else f'{problem}.'} See {command} -h."


def _parameter(error: Any) -> str:
    """Return the name of the option, or of the argument, that an error is about."""
    parameter = error.param
    return str(parameter.metavar or parameter.name) if parameter.param_type_name == "argument" else parameter.opts[0]


def _refusal(parameter: str, cause: ValidationError) -> str:
    """Return what is wrong with the value of an option or argument."""
    first = cause.errors()[0]
    if first["type"] == "value_error":  # Typer raises it, with a sentence of its own, for a choice that does not exist
        return f"{parameter}: {first['ctx']['error']}"
    return f"{parameter} {validation_message(first)}"


def _instead(option: str, context: Any) -> str:
    """Return the end of a message about an unknown option."""
    if context is None:
        return "."
    key = option.lstrip("-").replace("-", "_")
    if (context.info_name, key) in _INSTEAD:
        return f"; {_INSTEAD[context.info_name, key]}."
    key = OTHER_NAMES.get(key, key)
    if context.info_name in _WITH_OVERRIDES:
        path = "encoder.checkpoint" if key in _ENCODER_NAMES else f"training.{key}"
        if key in _ENCODER_NAMES or key in TrainingSection.model_fields:
            return f"; to override a value of the recipe, write KEY=VALUE: {path}=..."
    if context.info_name == "init" and key in _ENCODER_NAMES:
        option = "--encoder"
    known = [name for each in context.command.params for name in each.opts if name.startswith("--")]
    return nearest(option, known, listed_by=f"{context.command_path} -h", likeness=_LEAST_LIKENESS)
