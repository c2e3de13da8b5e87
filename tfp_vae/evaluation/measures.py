"""The kind of a likelihood's `log_prob`: a probability, a density, or neither."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.counts import ZeroInflated
from tfp_vae.distributions.quantized_logistic import QuantizedLogistic

_OWN_DISCRETE = (ZeroInflated, QuantizedLogistic)
_BYTE = 256


class Measure(NamedTuple):
    """A kind of `log_prob`, and what a report may call its numbers.

    Attributes:
      name: "log p(x)", a probability; "log density"; or the name of another number.
      key: the key in results of a number that is neither; "" for the other two.
      note: a line for the reader.
    """

    name: str
    key: str = ""
    note: str = ""

    @property
    def is_likelihood(self) -> bool:
        """Whether the number is log p(x), of a probability or of a density."""
        return not self.key


PROBABILITY = Measure("log p(x)")
DENSITY = Measure(
    "log density",
    note="p(x|z) is a density: its logarithm may be above 0, and depends on the unit of x",
)
CROSS_ENTROPY = Measure(
    "cross-entropy",
    "cross_entropy",
    "x is not 0 or 1 everywhere: the likelihood gives grey values no probability",
)
SCORE = Measure(
    "score",
    "score",
    "x has values that the likelihood does not draw, and gives no probability",
)


def measure(likelihood: tfd.Distribution, x: Any) -> Measure:
    """Returns the kind of `likelihood.log_prob(x)`.

    A discrete distribution gives a probability to its own values only: a Bernoulli's formula at a
    grey pixel is a cross-entropy.

    Args:
      likelihood: p(x|z), such as `vae.decode(z)`.
      x: the data, `[n, ...]`.

    Example:
      >>> p = tfd.Independent(tfd.Bernoulli([[0., 0.]]), 1)
      >>> measure(p, np.array([[0., 1.]])).name, measure(p, np.array([[0., .5]])).name
      ('log p(x)', 'cross-entropy')
    """
    each = scalar(likelihood)
    if not is_discrete(each):
        return DENSITY
    x = np.asarray(x)
    if isinstance(each, tfd.Bernoulli):
        return PROBABILITY if np.isin(x, (0, 1)).all() else CROSS_ENTROPY
    if isinstance(each, tfd.OneHotCategorical):
        one_hot = np.isin(x, (0, 1)).all() and (x.sum(axis=-1) == 1).all()
        return PROBABILITY if one_hot else CROSS_ENTROPY
    return PROBABILITY if (x == np.round(x)).all() else SCORE


def scalar(likelihood: tfd.Distribution) -> tfd.Distribution:
    """Returns the distribution of the single values; of a mixture, that of its components."""
    likelihood = getattr(likelihood, "tensor_distribution", likelihood)
    if "reinterpreted_batch_ndims" in likelihood.parameters:  # `tfd.Independent`
        return scalar(likelihood.distribution)
    if "components_distribution" in likelihood.parameters:  # `tfd.MixtureSameFamily`
        return scalar(likelihood.components_distribution)
    return likelihood


def is_discrete(each: tfd.Distribution) -> bool:
    """Returns whether the values can be counted, so that `prob` is a probability."""
    if isinstance(each, _OWN_DISCRETE):
        return True
    parts = getattr(each, "distributions", getattr(each, "components", None))
    if isinstance(parts, (list, tuple)):  # side by side, or mixed
        return all(is_discrete(scalar(part)) for part in parts)
    try:  # TFP's discrete distributions have no map from the real line to their values
        return each.experimental_default_event_space_bijector() is None
    except NotImplementedError:
        return bool(each.dtype.is_integer or each.dtype.is_bool)
    except TypeError:  # some continuous ones of TFP 0.25 fail with NumPy 2
        return False


def is_of_bytes(likelihood: tfd.Distribution) -> bool:
    """Returns whether each value has 256 levels, as pixels do, with a probability each."""
    each = scalar(likelihood)
    if isinstance(each, tfd.OneHotCategorical):
        return False
    if isinstance(each, tfd.Categorical):
        return each.logits_parameter().shape[-1] == _BYTE
    low, high = getattr(each, "low", None), getattr(each, "high", None)
    if low is None or high is None or not is_discrete(each):
        return False
    return bool(np.all(np.asarray(high) - np.asarray(low) == _BYTE - 1))


def bits_per_dimension(nats: Any, dimensions: int) -> Any:
    """Returns `-log2 p(x) / D` for a log-probability in nats."""
    return -nats / (dimensions * np.log(2))
