import pytest
from table_files import read, refusal, written

from mbert_cli.data.table import Table
from mbert_cli.errors import DataError


def test_the_header_of_jsonl_has_the_names_of_the_first_objects(write):
    path = write('{"a": "x", "b": 1}\n\n{"b": 2.5, "a": null, "c": 3}\n{"a": "é\\n", "b": true}\n', "t.jsonl")
    with Table(path) as table:
        assert table.header == ["a", "b", "c"]
        assert [(row.line, row.cells) for row in table] == [
            (1, ["x", "1", ""]),
            (3, ["", "2.5", "3"]),
            (4, ["é\n", "true", ""]),
        ]


def test_a_jsonl_object_needs_only_the_columns_that_are_used(write):
    path = write('{"a": "x", "lang": "en"}\n{"a": "y"}\n{"lang": "de"}\n', "t.jsonl")
    with Table(path) as table:
        table.column("a", "text of task t")
        rows = iter(table)
        assert [next(rows).cells, next(rows).cells] == [["x", "en"], ["y", ""]]
        with pytest.raises(DataError, match=r"t\.jsonl:3: no 'a'\."):
            next(rows)


def test_a_name_that_the_first_object_lacks_is_a_column(write):
    path = write('{"lang": "en"}\n{"a": "y"}\n', "t.jsonl")
    with Table(path) as table:
        table.column("a", "text of task t")
        assert [row.problem and row.problem.text for row in table.all_rows()] == ["no 'a'", None]


def test_an_object_may_be_nested_up_to_a_limit(write):
    assert read(write('{"a": ' + "[" * 200 + "]" * 200 + "}\n", "t.jsonl"))[1] == [["[" * 200 + "]" * 200]]
    message = refusal(write('{"a": 1}\n{"a": ' + "[" * 201 + "]" * 201 + "}\n", "t.jsonl"))
    assert message == "F:2: is not JSON (is nested deeper than 200 levels)."


NUMBERS = [
    "1e400",
    "-1E-400",
    "1.10",
    "1234567890123456789",
    "9" * 10_000,
    "0.1000000000000000055",
    "-0",
    "NaN",
    "-Infinity",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_of_jsonl_keep_their_text(write, number):
    path = write(f'{{"a": {number}, "b": [{number}, {{"c": {number}}}]}}\n', "t.jsonl")
    assert read(path)[1] == [[number, f'[{number}, {{"c": {number}}}]']]
    text = written(path, ["pred"], ["yes"])
    assert text == f'{{"a": {number}, "b": [{number}, {{"c": {number}}}], "pred": "yes"}}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": }\n', "F:2: is not JSON (Expecting value: column 7)."),
        ('{"a": 1}\n[1]\n', "F:2: must be a JSON object with names, but is '[1]'."),
        ('\n{}\n{"a": 1}\n', "F:2: must be a JSON object with names, but is '{}'."),
        ('{"a": 1}\n{"a": "x\\ud800"}\n', "F:2: escapes one half of a surrogate pair"),
        ('{"a": 1}\n{"a": [{"\\uDFFF": 2}]}\n', "F:2: escapes one half of a surrogate pair"),
        ('{"a": 1}\n{"b": 1, "a": 2, "b": 3}\n', "F:2: is not JSON (the name 'b' occurs twice)."),
        ("{" * 100_000 + "\n", "F:1: is not JSON"),
        ('{"a": ' + "[" * 100_000 + "\n", "F:1: "),
        ("nonsense\n", "F:1: is not JSON"),
    ],
)
def test_malformed_jsonl_is_refused_with_the_line(write, content, message):
    assert refusal(write(content, "t.jsonl")).startswith(message)
