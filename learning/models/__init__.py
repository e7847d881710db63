"""Value models: the expected reward of each arm from its row of features, behind one protocol."""

from __future__ import annotations

from learning.models.disjoint_gaussian import DisjointGaussian
from learning.models.known_worth import KnownWorth
from learning.models.linear import Linear
from learning.models.linear_gaussian import LinearGaussian
from learning.models.logistic_gaussian import LogisticGaussian
from learning.models.value_model import FloatArray, ValueModel, kind_of

__all__ = [
    "DisjointGaussian",
    "FloatArray",
    "KnownWorth",
    "Linear",
    "LinearGaussian",
    "LogisticGaussian",
    "ValueModel",
    "model_from_bytes",
]

_MODELS: dict[str, type[ValueModel]] = {
    "disjoint_gaussian": DisjointGaussian,
    "known_worth": KnownWorth,
    "linear": Linear,
    "linear_gaussian": LinearGaussian,
    "logistic_gaussian": LogisticGaussian,
}


def model_from_bytes(data: bytes) -> ValueModel:
    """Return the model that `to_bytes` wrote, equal to the last bit.

    Raises:
        BrokenWeights: the bytes are not a model or its weights are not finite.
    """
    return _MODELS[kind_of(data, known=_MODELS)].from_bytes(data)
