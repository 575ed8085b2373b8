"""One optimizer step."""

from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.loss_balancing import Shared
from mbert_cli.model.multi_task_bert import MultiTaskBert


def shared_of(model: MultiTaskBert) -> Shared:
    """Return what the tasks train together, as `model.train_only` left it."""
    parameters = [each for part in (model.encoder, model.pooling) for each in part.parameters() if each.requires_grad]
    last = model.encoder.layers[-1]
    assert isinstance(last, EncoderLayer)
    return Shared(parameters, last.output.weight if last.output.weight.requires_grad else None)
