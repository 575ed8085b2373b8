"""What is wrong with a command line, in one line."""

from typing import Any

from typer.exceptions import TyperException

from mbert_cli.messages import nearest
from mbert_cli.recipe.sections import TrainingSection


def mistake(error: TyperException) -> str:
    """Return what the parser of the command line refuses: place, value, remedy; empty where it has said all itself."""
    # The classes are Typer's own business, their attributes are Click's documented ones.
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    command = context.command_path if context else "mbert"
    said: str = error.format_message()
    if not said:
        return ""
    if option is not None and said.startswith("No such option"):
        return f"{command}: there is no option {option}{_instead(option, context)}"
    for theirs, ours in _IN_OUR_WORDS.items():
        said = said.replace(theirs, ours)
    said = f"{said[:1].lower()}{said[1:]}"
    return f"{command}: {said if said.endswith(('.', '?')) else f'{said}.'} See {command} -h."


# Of values that are refused, pydantic tells in words of its own.
_IN_OUR_WORDS = {
    ", unable to parse string as an integer": "",
    "Value error, ": "",
    "Input should be a valid integer": "must be a whole number",
    "Input should be ": "must be ",
}
# What other tools call the keys of a recipe's `training`.
_ALSO_CALLED = {
    "lr": "learning_rate",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "max_epochs": "epochs",
    "max_seq_length": "max_length",
    "warmup_ratio": "warmup",
}


def _instead(option: str, context: Any) -> str:
    """Return the end of a message about an unknown option."""
    if context is None:
        return "."
    key = option.lstrip("-").replace("-", "_")
    key = _ALSO_CALLED.get(key, key)
    if key in TrainingSection.model_fields and context.info_name == "train":
        return f"; what a recipe says is overridden by KEY=VALUE: training.{key}=..."
    known = [name for each in context.command.params for name in each.opts if name.startswith("--")]
    return nearest(option, known, listed_by=f"{context.command_path} -h")
