"""Decides whether a run trains with CUDA graphs."""

import torch

from mbert_cli.adapters.pal import PAL
from mbert_cli.encoder.segment_adapters import acts_at
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.machine.cuda_graph import why_not_on
from mbert_cli.machine.process_group import Processes
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.recipe.sections import Recipe
from mbert_cli.training.setup import TrainingSetup

_WIDEST = 64  # the most features of an attention head; see `kernels.triton.attending`


def why_no_graphs(setup: TrainingSetup, device: torch.device, processes: Processes) -> str | None:
    """Return the reason why a run trains without CUDA graphs; None if it trains with them.

    Args:
        setup: what is trained.
        device: the device.
        processes: the processes that train together.
    """
    recipe, learner = setup.recipe, setup.learner
    return (
        why_not_on(device, learner.model.kernels)
        or (None if processes.is_alone else "several processes train together")
        or _why_not_recipe(recipe)
        or _why_not_model(learner.model)
        or (None if learner.balancing.on_device else f"loss_balancing {recipe.loss_balancing.kind} needs the CPU")
    )


def _why_not_recipe(recipe: Recipe) -> str | None:
    """Return the option of a recipe because of which its steps cannot be captured; None if they can."""
    training = recipe.training
    if training.accumulate > 1:
        return "training.accumulate divides a step into micro-batches"
    if training.gradient_checkpointing:
        return "training.gradient_checkpointing computes activations again"
    if training.cache_features:
        return "training.cache_features copies hidden states in each step"
    for name, task in recipe.tasks.items():
        if task.windows is not None:
            return f"the number of windows of tasks.{name} differs between steps"
        if task.soft_labels == "annealed":
            return f"the weight of the soft labels of tasks.{name} changes in each step"
    return None


def _why_not_model(model: MultiTaskBert) -> str | None:
    """Return the part of a model because of which its steps cannot be captured; None if they can."""
    if not _has_fused_attention(model.encoder.shape):
        return "the fused kernels do not compute the attention of this encoder"
    for name in model.task_names:
        if model.head(name).late_interaction:
            return f"tasks.{name}.head compares texts token by token"
        for adapter in model.task(name).adapter_list():
            if acts_at(type(adapter), "prefix"):
                return f"the adapters of tasks.{name} have prefixes"
            if isinstance(adapter, PAL) and adapter.down.out_features > _WIDEST * adapter.heads:
                return f"the fused kernels do not compute the attention of tasks.{name}.adapters"
    return None


def _has_fused_attention(shape: EncoderShape) -> bool:
    positions = shape.rotary_theta or shape.relative_buckets or shape.position_buckets
    return not positions and shape.hidden_size <= _WIDEST * shape.num_heads
