"""Conversion of LoRA, (IA)^3 and prefixes to the library PEFT, and back.

PEFT attaches an adapter to the modules of the encoder in transformers. The name of a tensor is `base_model.model.` and
the name of its module. In adapters of a classifier, the family's prefix precedes the name of the module.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mbert_cli.adapters.ia3 import IA3
from mbert_cli.adapters.lora import LoRA
from mbert_cli.adapters.prefix import Prefix
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.families import Family, family
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.export.not_expressible import NotExpressibleError

_START = "base_model.model."
_QKV = ("query", "key", "value")
_MODULES = {"attention_output": "attention.output", "intermediate": "intermediate", "output": "output"}
_PREFIX_FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie")
"""The families whose classes in transformers accept keys and values that precede the text."""


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter in the form of PEFT.

    Args:
        config: the entries of adapter_config.json that depend on the adapter.
        tensors: the content of adapter_model.safetensors.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class OwnAdapter:
    """An adapter in the form of mbert, read from a PEFT folder.

    Args:
        spec: its section in a recipe.
        state: the values of its parameters.
        ignored: the names of tensors that are not part of an adapter, such as those of a head.
    """

    spec: dict[str, Any]
    state: dict[str, Tensor]
    ignored: list[str]


def to_peft(adapter: Adapter, shape: EncoderShape) -> PeftAdapter:
    """Convert an adapter to the form of PEFT.

    Raises:
        NotExpressibleError: PEFT cannot express it.
    """
    if isinstance(adapter, Prefix):
        return _prefix_to_peft(adapter, shape)
    if not isinstance(adapter, LoRA | IA3):
        raise NotExpressibleError("has no counterpart in peft; only lora, ia3 and prefix have one")
    if shape.shares_layers:
        raise NotExpressibleError(f"differs by layer, but all layers of {shape.family} share one module")
    return _lora_to_peft(adapter, shape) if isinstance(adapter, LoRA) else _ia3_to_peft(adapter, shape)


def from_peft(config: Mapping[str, Any], tensors: Mapping[str, Tensor], shape: EncoderShape) -> OwnAdapter:
    """Convert a PEFT adapter to the form of mbert.

    Args:
        config: the content of adapter_config.json.
        tensors: the content of adapter_model.safetensors.
        shape: sizes of the encoder.

    Raises:
        NotExpressibleError: mbert cannot express it, or it belongs to another encoder.
    """
    readers = {"LORA": _lora_from_peft, "IA3": _ia3_from_peft, "PREFIX_TUNING": _prefix_from_peft}
    kind = config.get("peft_type")
    if kind not in readers:
        raise NotExpressibleError(f"has peft_type={kind!r}, but mbert reads {', '.join(readers)}")
    if kind != "PREFIX_TUNING" and shape.shares_layers:
        raise NotExpressibleError(
            f"has values for one module, which all layers of {shape.family} share, but mbert needs them for each layer"
        )
    rest = dict(tensors) if kind == "PREFIX_TUNING" else _without_prefix(tensors, shape)
    return readers[kind](config, rest, shape)


def _names(of_type: Family, target: str) -> tuple[str, ...]:
    """Return the names of a target's modules in a layer. The outputs of several modules are concatenated."""
    names = of_type.layer_modules["attention.qkv" if target in _QKV else _MODULES[target]]
    if target not in _QKV:
        return (names,) if isinstance(names, str) else names
    if isinstance(names, str):
        raise NotExpressibleError(
            f"acts on the {target}, but {of_type.model_type} has one module for query, key and value"
        )
    return (names[_QKV.index(target)],)


def _pattern(of_type: Family, names: list[str]) -> str:
    """Return a regular expression that matches the full names of modules in every layer."""
    layer = re.escape(of_type.layer).replace(r"\{\}", r"\d+")
    return rf"(.*\.)?{layer}\.({'|'.join(map(re.escape, names))})"


def _lora_to_peft(adapter: LoRA, shape: EncoderShape) -> PeftAdapter:
    of_type = family(shape.family)
    tensors: dict[str, Tensor] = {}
    targets: dict[str, None] = {}
    for layer, target, product in adapter.products():
        names = _names(of_type, target)
        targets |= dict.fromkeys(names)
        for name, up in zip(names, product.up.chunk(len(names)), strict=True):
            place = f"{_START}{of_type.layer.format(layer)}.{name}"
            tensors |= {f"{place}.lora_A.weight": product.down.clone(), f"{place}.lora_B.weight": up}
    rank = len(product.down)
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": product.scale * rank,
        "lora_dropout": adapter.dropout.p,
        "target_modules": _pattern(of_type, list(targets)),
        "bias": "none",
    }
    return PeftAdapter(config, tensors)


def _lora_from_peft(config: Mapping[str, Any], rest: dict[str, Tensor], shape: EncoderShape) -> OwnAdapter:
    for key, usual in {"bias": "none", "use_dora": False, "use_rslora": False, "lora_bias": False}.items():
        if config.get(key, usual) != usual:
            raise NotExpressibleError(f"has {key}={config[key]!r}, but mbert reads only {key}={usual!r}")
    for key in ("r", "lora_alpha"):
        if not isinstance(config.get(key), int | float):
            raise NotExpressibleError(
                f"has {key}={config.get(key)!r} in adapter_config.json, but {key} must be a number"
            )
    for key in ("rank_pattern", "alpha_pattern"):
        if config.get(key):
            raise NotExpressibleError(f"has a {key}, but LoRA of mbert has one rank and one alpha for all layers")
    of_type = family(shape.family)
    known = [target for target in (*_QKV, *_MODULES) if not (target in _QKV and _is_joined(of_type))]
    targets = [each for each in known if any(_is_of(name, _names(of_type, each), ".lora_A.") for name in rest)]
    if not targets:
        raise NotExpressibleError(f"has no LoRA at {', '.join(known)}")
    spec = {
        "kind": "lora",
        "rank": config["r"],
        "alpha": float(config["lora_alpha"]),
        "targets": targets,
        "dropout": float(config.get("lora_dropout", 0.0)),
    }
    state: dict[str, Tensor] = {}
    for layer in range(shape.num_layers):
        for target in targets:
            places = [f"{of_type.layer.format(layer)}.{name}" for name in _names(of_type, target)]
            downs, ups = ([_taken(rest, f"{place}.lora_{x}.weight") for place in places] for x in "AB")
            if any(not torch.equal(downs[0], each) for each in downs):
                raise NotExpressibleError(
                    f"has different values of lora_A for {' and '.join(places)}, but mbert has one lora_A for all"
                )
            state |= {f"layers.{layer}.{target}.down": downs[0], f"layers.{layer}.{target}.up": torch.cat(ups)}
    return OwnAdapter(spec, state, _ignored(rest, ".lora_"))


def _ia3_to_peft(adapter: IA3, shape: EncoderShape) -> PeftAdapter:
    of_type, tensors = family(shape.family), {}
    sites = {"key": adapter.key, "value": adapter.value, "output": adapter.inner}
    modules = {target: _names(of_type, target)[0] for target in sites}
    for target, vectors in sites.items():
        for layer, vector in enumerate(vectors):
            size = (1, -1) if target == "output" else (-1, 1)
            tensors[f"{_START}{of_type.layer.format(layer)}.{modules[target]}.ia3_l"] = vector.view(size)
    config = {
        "peft_type": "IA3",
        "target_modules": _pattern(of_type, list(modules.values())),
        "feedforward_modules": _pattern(of_type, [modules["output"]]),
    }
    return PeftAdapter(config, tensors)


def _ia3_from_peft(_: Mapping[str, Any], rest: dict[str, Tensor], shape: EncoderShape) -> OwnAdapter:
    of_type = family(shape.family)
    state: dict[str, Tensor] = {}
    for name, target in {"key": "key", "value": "value", "inner": "output"}.items():
        for layer in range(shape.num_layers):
            place = f"{of_type.layer.format(layer)}.{_names(of_type, target)[0]}.ia3_l"
            state[f"{name}.{layer}"] = _taken(rest, place).flatten()
    return OwnAdapter({"kind": "ia3"}, state, _ignored(rest, ".ia3_l"))


def _prefix_to_peft(adapter: Prefix, shape: EncoderShape) -> PeftAdapter:
    if len(adapter.gates):
        raise NotExpressibleError("has gates, but prefixes of peft have none (gate: none)")
    if shape.family not in _PREFIX_FAMILIES:
        raise NotExpressibleError(
            f"needs keys and values before the text, which {shape.family} of transformers does not accept"
        )
    rows = [each for pair in zip(adapter.keys, adapter.values, strict=True) for each in pair]
    config = {
        "peft_type": "PREFIX_TUNING",
        "num_virtual_tokens": len(rows[0]),
        "token_dim": shape.hidden_size,
        "num_transformer_submodules": 1,
        "num_attention_heads": shape.num_heads,
        "num_layers": shape.num_layers,
        "encoder_hidden_size": shape.hidden_size,
        "prefix_projection": False,
    }
    return PeftAdapter(config, {"prompt_embeddings": torch.cat(rows, dim=1)})


def _prefix_from_peft(config: Mapping[str, Any], rest: dict[str, Tensor], shape: EncoderShape) -> OwnAdapter:
    if config.get("prefix_projection"):
        raise NotExpressibleError("has a projection of its prefix, which mbert does not have")
    table = _taken(rest, "prompt_embeddings")
    if table.ndim != 2 or table.shape[1] != 2 * shape.num_layers * shape.hidden_size:
        raise NotExpressibleError(
            f"has a prefix of {list(table.shape)} values, but the encoder has {shape.num_layers} layers of "
            f"{shape.hidden_size} features"
        )
    rows = table.chunk(2 * shape.num_layers, dim=1)
    state = {
        f"{name}.{layer}": rows[2 * layer + at]
        for at, name in enumerate(("keys", "values"))
        for layer in range(shape.num_layers)
    }
    return OwnAdapter({"kind": "prefix", "length": len(table), "gate": "none"}, state, sorted(rest))


def _is_joined(of_type: Family) -> bool:
    return isinstance(of_type.layer_modules["attention.qkv"], str)


def _without_prefix(tensors: Mapping[str, Tensor], shape: EncoderShape) -> dict[str, Tensor]:
    """Return tensors by their names in the encoder, without the prefixes of PEFT and of the family."""
    prefix = family(shape.family).prefix
    return {name.removeprefix(_START).removeprefix(prefix): value for name, value in tensors.items()}


def _is_of(tensor: str, modules: tuple[str, ...], part: str) -> bool:
    """Whether a tensor belongs to one of the modules of a layer."""
    return any(re.fullmatch(rf".*\d+\.{re.escape(module)}{re.escape(part)}.*", tensor) for module in modules)


def _taken(tensors: dict[str, Tensor], name: str) -> Tensor:
    """Remove a tensor from `tensors`, and return it."""
    if name not in tensors:
        raise NotExpressibleError(
            f"has no tensor {name}; it was trained for another encoder, or for only some of the layers"
        )
    return tensors.pop(name)


def _ignored(rest: Mapping[str, Tensor], part: str) -> list[str]:
    """Return the names of the remaining tensors.

    Raises:
        NotExpressibleError: one of them is part of the adapter.
    """
    unknown = [name for name in rest if part in name]
    if unknown:
        raise NotExpressibleError(
            f"has values for {unknown[0].partition(part)[0]}, where mbert cannot have this adapter"
        )
    return sorted(rest)
