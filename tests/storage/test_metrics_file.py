import json
import re

import pytest
from records import record

from mbert_cli.errors import DataError
from mbert_cli.storage.metrics_file import metrics_text, read_metrics


def test_records_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(metrics_text([record(1), record(2)]))
    assert read_metrics(path) == [record(1), record(2)]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"epoch": "two"}, "epoch must be a whole number, but is 'two'"),
        ({"overall": "high"}, "overall must be a number, but is 'high'"),
        ({"best": "perhaps"}, "best must be true or false, but is 'perhaps'"),
        ({"hardware": 3}, "hardware must contain keys and values, but is 3"),
    ],
)
def test_a_line_with_a_wrong_value_is_refused_with_its_place(tmp_path, change, problem):
    path = tmp_path / "metrics.jsonl"
    lines = [record(1).as_dict(), {**record(2).as_dict(), **change}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    message = f"{path}:2: is not the record of an epoch ({problem}); remove the line."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read_metrics(path)
