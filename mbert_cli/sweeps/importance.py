"""The importance of the ranges of a search: fANOVA, computed by Optuna.

Must not import torch: fast start-up.
"""

from dataclasses import replace

from mbert_cli.sweeps.ranges import as_json
from mbert_cli.sweeps.results import SweepResult
from mbert_cli.sweeps.trials import silent

_FEWEST = 4  # trials


def with_importance(result: SweepResult) -> SweepResult:
    """Return the result of a search with the importance of its ranges; other results as they are.

    fANOVA fits a random forest that predicts the overall score from the values. The importance of a range is the share
    of the variance of the predictions that the range explains by itself; the shares are scaled so that their sum is 1.
    Only trials that are done count. With fewer than four of them, or if all have the same score, the result is empty.

    Source: Hutter, Hoos, Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance".
    """
    if result.search is None:
        return result
    done = [(row.row.values, row.overall.mean) for row in result.rows if row.overall is not None]
    if len(done) < _FEWEST or len({score for _, score in done}) < 2:
        return result
    with silent():
        import optuna

        study = optuna.create_study(direction="maximize")
        distributions = {each.key: each.distribution() for each in result.search.ranges}
        choices = {each.key for each in result.search.ranges if each.kind == "choice"}
        for values, score in done:
            params = {key: as_json(value) if key in choices else value for key, value in values.items()}
            study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=score))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=result.search.section.seed)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return replace(result, importance=shares)
