from mbert_cli.messages import nearest


def test_nearest_suggests_only_a_similar_name():
    assert nearest("lowrank", ["pal", "low_rank"]) == "; did you mean 'low_rank'? Known: low_rank, pal."
    assert nearest("zzz", ["pal", "low_rank"]) == ". Known: low_rank, pal."


def test_a_message_about_an_unknown_name_is_short():
    many = [f"column{i:03}" for i in range(200)] + ["x" * 100_000]
    message = nearest("colum007", many)
    assert message.startswith("; did you mean 'column007'? Known: column000, ")
    assert message.endswith(" and 161 more.")
    assert len(nearest("y" * 100_000, ["x" * 100_000, "id"])) < 200
