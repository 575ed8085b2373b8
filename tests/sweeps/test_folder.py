"""Which runs of a sweep's folder belong to the rows of a plan."""

import pytest
from sweeping import KILLED, PLAN, fail, mbert_sweep, printed, result_of, start_sweep, starts, table

from mbert_cli.errors import RunFailedError, RunInUseError, UsageError
from mbert_cli.sweeps.folder import SweepFolder
from mbert_cli.sweeps.formats import as_markdown


def test_rows_of_the_same_recipe_share_a_run(here):
    mbert_sweep()
    assert starts(here) == {f"g-{name}-seed-{seed}": 1 for name in ("both", "none") for seed in (1, 2)}
    rows = table(here)
    shared = rows["G", "both"]["runs"]
    assert shared == rows["H", "both again"]["runs"] == "g-both-seed-1 g-both-seed-2"
    # Each row has its own published scores.
    assert (rows["G", "both"]["mood_accuracy_published"], rows["H", "both again"]["mood_accuracy_published"]) == (
        "",
        "0.6",
    )


def test_a_run_with_nothing_but_metrics_is_done_and_belongs_to_its_recipe(here):
    mbert_sweep("-q")
    for run in (here / "out" / "runs").iterdir():
        for each in run.iterdir():
            if each.name != "metrics.jsonl":
                each.unlink()
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}
    metrics = here / "out" / "runs" / "g-none-seed-2" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().splitlines(keepends=True)[0])
    mbert_sweep("-q")
    assert {name for name, times in starts(here).items() if times == 2} == {"g-none-seed-2"}
    (here / "plan.yaml").write_text(PLAN.replace('"adapters=[]"', '"adapters=[]", training.batch_size=9'))
    with pytest.raises(UsageError, match="out/runs/g-none-seed-1: training.batch_size was 8 and is now 9"):
        mbert_sweep("-q")


def test_only_added_rows_are_trained(here):
    mbert_sweep("-q")
    text = PLAN + '  - {group: H, name: mean, recipe: recipe.yaml, settings: ["adapters=[top]"], seeds: [3]}\n'
    (here / "plan.yaml").write_text(text)
    mbert_sweep("-q")
    assert starts(here).pop("h-mean-seed-3") == 1
    assert set(starts(here).values()) == {1}
    assert (here / "out" / "plan.yaml").read_text() == text


def test_rows_may_be_renamed_and_moved(here):
    mbert_sweep("-q")
    head, both, none, again = PLAN.partition("rows:\n")[0], *PLAN.splitlines(keepends=True)[-3:]
    renamed = none.replace("name: none", "name: both").replace("group: G", "group: Z")
    (here / "plan.yaml").write_text(f"{head}rows:\n{again}{renamed}{both}")
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}
    assert table(here)["Z", "both"]["runs"] == "g-none-seed-1 g-none-seed-2"


def test_a_run_started_with_another_recipe_is_rejected_or_replaced_with_force(here):
    mbert_sweep("-q")
    before = (here / "out" / "table.tsv").read_bytes()
    (here / "plan.yaml").write_text(PLAN.replace('"adapters=[]"', '"adapters=[]", training.batch_size=9'))
    with pytest.raises(UsageError) as caught:
        mbert_sweep()
    first, second, remedy = caught.value.problems
    assert first == "out/runs/g-none-seed-1: training.batch_size was 8 and is now 9."
    assert second.startswith("out/runs/g-none-seed-2: ")
    assert "--force" in remedy
    assert (here / "out" / "table.tsv").read_bytes() == before
    mbert_sweep("-q", "--force")
    assert starts(here) == {"g-both-seed-1": 1, "g-both-seed-2": 1, "g-none-seed-1": 2, "g-none-seed-2": 2}
    assert "batch_size: 9" in (here / "out" / "runs" / "g-none-seed-1" / "recipe.yaml").read_text()


def test_runs_started_with_other_options_are_rejected(here):
    mbert_sweep("-q", "--limit", "5")
    with pytest.raises(UsageError, match="out/runs/g-both-seed-1: limit was 5 and is now None."):
        mbert_sweep("-q")
    fail(here, KILLED)
    with pytest.raises(RunFailedError):
        mbert_sweep("-q", "--force")
    with pytest.raises(UsageError) as caught:
        mbert_sweep("-q", "--precision", "fp32")
    *problems, _ = caught.value.problems
    for seed, problem in zip((1, 2), problems, strict=True):
        assert problem == f"out/runs/g-none-seed-{seed}: precision was 'auto' and is now 'fp32'."


def test_finished_runs_stay_if_others_are_trained_on_another_device(here):
    part, whole = PLAN.replace("seeds: [1, 2]", "seeds: [1]"), here / "plan.yaml"
    whole.write_text(part)
    mbert_sweep("-q", "--device", "cpu", "--precision", "fp32")
    assert "trained on" not in printed(here, 200)
    assert table(here)["G", "both"]["trained_on"] == "cpu, fp32"
    whole.write_text(PLAN)
    mbert_sweep("-q", "--device", "cpu", "--precision", "bf16")
    assert set(starts(here).values()) == {1}
    assert table(here)["G", "both"]["trained_on"] == "cpu, fp32; cpu, bf16"
    assert printed(here, 220).count("cpu, fp32; cpu, bf16") == 3
    assert "| trained on |" in as_markdown(result_of(here))


def test_settings_that_do_not_affect_results_may_change(here):
    mbert_sweep("-q")
    text = PLAN.replace("epochs=2]", "epochs=2, training.state_every=3, training.keep=1]")
    (here / "plan.yaml").write_text(text)
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}


def test_a_folder_with_other_files_is_not_changed(here):
    (here / "out").mkdir()
    (here / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="out is not empty and contains no sweep; choose another -o."):
        mbert_sweep()
    assert [each.name for each in (here / "out").iterdir()] == ["thesis.txt"]
    (here / "file").write_text("mine")
    with pytest.raises(UsageError, match="file is a file"):
        mbert_sweep("-o", "file")


def test_a_second_sweep_exits_with_3_and_changes_nothing(here):
    mbert_sweep("-q")
    (here / "plan.yaml").write_text(PLAN + "  - {name: new, recipe: recipe.yaml, seeds: [9]}\n")
    with SweepFolder(here / "out").locked():
        with pytest.raises(RunInUseError, match="out is in use by another mbert sweep"):
            mbert_sweep()
        second = start_sweep(here)
        _, err = second.communicate(timeout=300)
        assert second.returncode == 3
        assert len(err.splitlines()) == 1
        # The table can be printed.
        mbert_sweep("--table")
    assert (here / "out" / "plan.yaml").read_text() == PLAN
    assert len(starts(here)) == 4
