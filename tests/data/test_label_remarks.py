import pytest

from mbert_cli.data.label_remarks import list_separator


@pytest.mark.parametrize(
    ("labels", "separator"),
    [
        (["rude|threat", "threat", "rude", "spam|rude"], "|"),
        (["a; b", "b; c", "c", "a"], ";"),
        (["1,2", "2,3", "1", "3,1"], ","),
        (['["rude", "threat"]', '["rude"]'], ","),
        (["N/A", "yes", "no"], None),
        (["yes, I agree", "no, thanks", "maybe"], None),
        (["very good", "good", "very bad", "bad"], None),
        (["0", "1", "2"], None),
        (["ENTAILMENT", "NEUTRAL"], None),
    ],
)
def test_lists_of_labels_are_recognised_by_recurring_parts(labels, separator):
    assert list_separator(labels) == separator
