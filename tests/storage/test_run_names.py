import pytest

from mbert_cli.storage.run_names import RunName, run_name


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("runs/a", RunName("a")),  # no sweep: there is no plan
        ("both", RunName("both")),
        ("both/members/2", RunName("both-member-2", "both")),
        ("rates/runs/low-seed-1", RunName("low-seed-1", "rates")),
        ("rates/runs/low-seed-1/members/3", RunName("low-seed-1-member-3", "rates")),
        ("members/2", RunName("2")),
    ],
)
def test_a_run_is_named_by_its_folder(tmp_path, monkeypatch, path, expected):
    for folder, file in [("both", "recipe.yaml"), ("rates", "plan.yaml"), ("rates/runs/low-seed-1", "recipe.yaml")]:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / file).touch()
    monkeypatch.chdir(tmp_path)
    assert run_name(tmp_path.relative_to(tmp_path) / path) == expected
