"""Formats of published data sets that are not tables with a header, and the commands that convert them."""

import re
import shlex
from dataclasses import dataclass

_FROM_FASTTEXT = (
    """awk 'BEGIN {print "label\\ttext"} {gsub(/\\t/, " "); l = ""; while (match($0, /^__label__[^ ]+ +/)) """
    """{split($0, w, " "); l = l (l == "" ? "" : ",") substr(w[1], 10); $0 = substr($0, RLENGTH + 1)} """
    """print l "\\t" $0}' FILE"""
)
_FROM_TREC = (
    """awk 'BEGIN {print "label\\tfine_label\\ttext"} {gsub(/\\t/, " "); split($1, l, ":"); """
    """print l[1] "\\t" l[2] "\\t" substr($0, length($1) + 2)}' FILE"""
)
_FROM_PHRASE_BANK = (
    """awk 'BEGIN {print "label\\ttext"} {gsub(/\\t/, " "); i = match($0, /@[^@]*$/); """
    """print substr($0, i + 1) "\\t" substr($0, 1, i - 1)}' FILE"""
)
_FROM_STS = "(printf 'similarity\\tsentence1\\tsentence2\\n'; cut -f5-7 FILE)"


@dataclass(frozen=True)
class ForeignFormat:
    """A format that `mbert` does not read.

    Args:
        name: what the file is in.
        first_line: a pattern that matches the beginning of its first line.
        command: a shell command that prints the file as a table; FILE stands for its path.
    """

    name: str
    first_line: str
    command: str

    def remark(self, path: str) -> str:
        """Return the name of the format and the command, for a message about a file."""
        quoted = shlex.quote(path)
        return f"is in {self.name}, not a table with a header; convert it: " + (
            f"{self.command.replace('FILE', quoted)} > {shlex.quote(f'{path}.tsv')}"
        )


_FORMATS = (
    ForeignFormat("fastText's format", r"__label__\S* ", _FROM_FASTTEXT),
    ForeignFormat("the format of TREC's questions", r"[A-Z]{2,}:[a-z]+ \S", _FROM_TREC),
    ForeignFormat("the format of the Financial PhraseBank", r".* .*\W@[a-z]+\s*$", _FROM_PHRASE_BANK),
    ForeignFormat("the format of the STS benchmark", r"main-[a-z]+\t\S+\t\S+\t\S+\t[0-9.]+\t", _FROM_STS),
)


def foreign_format(first_line: str) -> ForeignFormat | None:
    """Return the format of a file with this first line; None if it is not a known one."""
    return next((each for each in _FORMATS if re.match(each.first_line, first_line)), None)
