import pytest

from mbert_cli.data.file_settings import FileSettings, input_settings
from mbert_cli.errors import UsageError
from mbert_cli.recipe.sections import Component, TaskSection


def task(text, **settings):
    return TaskSection(train="t", dev="d", text=text, label="l", head=Component(kind="classification"), **settings)


def test_an_input_is_read_with_the_settings_of_its_task():
    tasks = {"mood": task(["text"], quoting="none", delimiter="pipe")}
    assert input_settings("-", tasks) == FileSettings("none", "pipe")
    assert input_settings("-", tasks, quoting="csv") == FileSettings("csv", "pipe")
    assert input_settings("-", tasks, delimiter="tab") == FileSettings("none", "tab")


def test_different_settings_of_tasks_are_reported_with_the_options_to_choose():
    tasks = {"mood": task(["text"], quoting="none"), "same": task(["one", "two"])}
    with pytest.raises(UsageError) as refusal:
        input_settings("-", tasks)
    assert str(refusal.value) == (
        "-: the model's tasks read their files differently (mood: quoting none; same: quoting auto); "
        "choose one with -t, or --quoting."
    )
    assert input_settings("-", tasks, quoting="none") == FileSettings("none", "auto")


def test_the_columns_of_a_file_decide_between_tasks_with_different_settings(tmp_path):
    tasks = {"mood": task(["text"], quoting="none"), "same": task(["one", "two"], columns={"two": "second"})}
    for header, quoting in (("text", "none"), ("one\tsecond", "auto")):
        (tmp_path / "in.tsv").write_text(f"{header}\n")
        assert input_settings(str(tmp_path / "in.tsv"), tasks).quoting == quoting
    (tmp_path / "in.tsv").write_text("text\tone\ttwo\n")
    with pytest.raises(UsageError, match="differently"):
        input_settings(str(tmp_path / "in.tsv"), tasks)


def test_csv_and_auto_do_not_conflict():
    tasks = {"mood": task(["text"], quoting="csv"), "same": task(["one", "two"])}
    assert input_settings("-", tasks) == FileSettings("csv", "auto")
