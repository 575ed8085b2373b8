"""Encoder families: a checkpoint whose config.json says `model_type: X` is described by the module X of this package.

To add a family, write one file that assigns a `Family` to FAMILY. It gives the names of sizes and weights in a
checkpoint, and the values of `EncoderShape` that select the parts of the encoder. It may also contain a function that
converts a config.json of an older version. A hyphen in a model type is an underscore in the name of its file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal

from mbert_cli.encoder.shape import EncoderShape


@dataclass(frozen=True)
class Classifier:
    """The head of a family's class for sequence classification in transformers: W_2 act(W_1 x + b_1) + b_2.

    x is the hidden state of the first token, and W_1 is square.

    Args:
        first: the name of W_1 in a checkpoint, with all prefixes.
        second: the name of W_2.
        activation: act, or what `activation_key` may set.
        activation_key: the key of config.json that selects act; None if the class has only one.
        pooling_key: the key of config.json that selects the pooling, `cls` or `mean`; None if the class has only CLS.
        norm: the name of a LayerNorm after act; None if there is none.
        written: further keys that the head needs in config.json.
    """

    first: str
    second: str = "classifier"
    activation: Literal["tanh", "relu", "gelu"] = "tanh"
    activation_key: str | None = None
    pooling_key: str | None = None
    norm: str | None = None
    written: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """How checkpoints of one family are read and written.

    Args:
        architecture: the class in transformers that contains the encoder alone.
        prefix: the start of all names of the encoder's weights in a checkpoint that also contains a head.
        defaults: the shape of a config.json without any keys. Fields without a key in `sizes` always have these values.
        sizes: for each field of `EncoderShape` that config.json sets, its key there.
        modules: for each module outside the layers, its name in a checkpoint.
        layer: the name of a layer in a checkpoint; `{}` stands for its index.
        layer_modules: for each module of a layer, its name below that of the layer. Several names are modules whose
            outputs are concatenated here, such as queries, keys and values.
        classifier: the head of the class for sequence classification in transformers.
        next_norm: for an encoder with LayerNorms before the sublayers: the name of `output_norm` in a checkpoint. The
            first name is below the name of the next layer; the second name is for the last layer.
        only: config keys of variants that are not built here, with the only value that is supported.
        written: further keys that transformers needs in config.json.
        current: returns the content of a config.json of any version under the present keys. It raises a ValueError for
            what is not supported.
        older_names: parts of names in older checkpoints, with what replaces them; for several names, the weight is
            split into equal parts.
    """

    architecture: str
    prefix: str
    defaults: EncoderShape
    sizes: Mapping[str, str]
    modules: Mapping[str, str]
    layer: str
    layer_modules: Mapping[str, str | tuple[str, ...]]
    classifier: Classifier
    next_norm: tuple[str, str] | None = None
    only: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    current: Callable[[dict[str, Any]], dict[str, Any]] = dict
    older_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def model_type(self) -> str:
        """The value of `model_type` in config.json."""
        return self.defaults.family


@cache
def model_types() -> tuple[str, ...]:
    """Return the supported values of `model_type`."""
    return tuple(_family(module.name).model_type for module in iter_modules(__path__) if not _is_shared(module.name))


def family(model_type: str) -> Family:
    """Return the family of a model type, which must be one of `model_types`."""
    return _family(model_type.replace("-", "_"))


def _family(module: str) -> Family:
    found = import_module(f"{__name__}.{module}").FAMILY
    assert isinstance(found, Family)
    return found


def _is_shared(module: str) -> bool:
    return module.startswith("_")
