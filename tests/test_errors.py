import pytest

from mbert_cli.errors import DataError, OptionError
from mbert_cli.messages import one_line
from mbert_cli.terminal.console import Console


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a café, 零 and an emoji 🙂", "a café, 零 and an emoji 🙂"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("two\nlines\r", r"two\nlines\r"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
    ],
)
def test_control_characters_are_escaped(text, shown, capsys):
    assert one_line(text) == shown
    assert str(DataError(text, "more")) == f"{shown}\nmore"
    assert OptionError("rank", text).problem == text
    Console().info(text)
    assert capsys.readouterr().err == f"{shown}\n"
