"""The descriptions of keys, taken from docstrings, for the JSON Schemas of recipes and plans."""

import inspect
import re


def argument_texts(documented: type) -> dict[str, str]:
    """Return the description of each argument in a class's docstring: its section `Args`, in Google style."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(documented) or "", re.MULTILINE | re.DOTALL)
    parts = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section[1] if section else "", re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in parts}
