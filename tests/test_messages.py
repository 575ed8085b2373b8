from mbert_cli.messages import nearest


def test_nearest_suggests_only_a_similar_name():
    assert nearest("lowrank", ["pal", "low_rank"]) == "; did you mean 'low_rank'? Known: low_rank, pal."
    assert nearest("zzz", ["pal", "low_rank"]) == ". Known: low_rank, pal."


def test_all_names_that_begin_with_the_unknown_name_are_suggested():
    columns = ["entailment_label", "entailment_AB", "entailment_BA", "entailed"]
    expected = "; did you mean 'entailment_label' or 'entailment_AB' or 'entailment_BA'? Known: "
    assert nearest("entailment", columns).startswith(expected)
    assert nearest("Entailed", columns).startswith("; did you mean 'entailed'? ")
    assert nearest("x", ["x_one", "y"]).startswith(". Known: ")


def test_a_message_about_an_unknown_name_is_short():
    many = [f"column{i:03}" for i in range(200)] + ["x" * 100_000]
    message = nearest("colum007", many)
    assert message.startswith("; did you mean 'column007'? Known: column000, ")
    assert message.endswith(" and 161 more.")
    assert len(nearest("y" * 100_000, ["x" * 100_000, "id"])) < 200
