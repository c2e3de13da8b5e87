"""The number to beat: what the likelihood's own family reaches without a latent variable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.counts import ZeroInflated
from tfp_vae.distributions.quantized_logistic import QuantizedLogistic
from tfp_vae.evaluation import continuous_fits as real
from tfp_vae.evaluation import discrete_fits as discrete
from tfp_vae.evaluation.log_probs import LogProb
from tfp_vae.evaluation.measures import scalar
from tfp_vae.layers.base.parametric import ParametricLayer
from tfp_vae.layers.rescaled import Rescaled
from tfp_vae.layers.shared_scale import SharedScale

_ROWS = 1000  # that are looked at together


class Family(NamedTuple):
    """A row of the table: a class of distributions, its name and its fit."""

    kind: type
    name: str
    fit: Callable[[np.ndarray, Any, Any], LogProb | None]


# The first row whose class fits is taken.
FAMILIES = (
    Family(tfd.Bernoulli, "independent Bernoullis", discrete.bernoulli),
    Family(
        tfd.ContinuousBernoulli,
        "independent continuous Bernoullis",
        real.continuous_bernoulli,
    ),
    Family(tfd.Normal, "independent Normals", real.normal),
    Family(tfd.Logistic, "independent logistics", real.logistic),
    Family(tfd.Laplace, "independent Laplaces", real.laplace),
    Family(tfd.StudentT, "independent Student's t", real.student_t),
    Family(tfd.Gamma, "independent Gammas", real.gamma),
    Family(tfd.Poisson, "independent Poissons", discrete.poisson),
    Family(tfd.NegativeBinomial, "independent negative binomials", discrete.negative_binomial),
    Family(ZeroInflated, "independent zero-inflated counts", discrete.zero_inflated),
    Family(tfd.OneHotCategorical, "one categorical", discrete.one_hot),
    Family(tfd.Categorical, "independent categoricals", discrete.levels),
    Family(QuantizedLogistic, "independent histograms", discrete.levels),
    Family(tfd.VonMisesFisher, "one von Mises-Fisher", discrete.direction),
    Family(tfd.PowerSpherical, "one power spherical", discrete.direction),
)


class Baseline(NamedTuple):
    """Independent distributions of a likelihood's family, fitted to training data.

    Attributes:
      name: of the family, and what is fixed.
      nll: from x, `[n, ...]`, to `-log p(x)` of each, in nats.
    """

    name: str
    nll: Callable[[np.ndarray], np.ndarray]


def baseline(likelihood: tfd.Distribution, train: np.ndarray, layer: Any = None) -> Baseline | None:
    """Fits the family of a likelihood to training data by maximum likelihood, by column.

    A fixed scale stays what it is; one scale for all values is one here too. A mixture has the
    family of its components, a Normal with covariances that of independent Normals; other families
    have no baseline. New values keep a probability: a Bernoulli sees a white and a black image
    more, other images (but those of a fixed scale) the least and the largest value in each pixel,
    counts a row of ones, categories a row that is spread over them.

    Args:
      likelihood: p(x|z) of several z, such as `vae.decode(z)`.
      train: the training data as the model takes them, `[n, ...]`; for a Bernoulli also uint8,
        pixels times 255. At most 2^23 numbers are used, of evenly spaced rows (2^20 for families
        that are fitted by steps).
      layer: the layer that made the likelihood; it tells whether a scale is trained.

    Example:
      >>> likelihood = tfd.Independent(tfd.Normal([[0., 0.], [1., 1.]], 1.), 1)
      >>> found = baseline(likelihood, np.array([[0., 5.], [2., 5.]]))
      >>> found.name, found.nll(np.array([[1., 5.]])).round(4).tolist()  # log(2 pi)
      ('independent Normals of scale 1', [1.8379])
    """
    each, scale, what = scalar(likelihood), None, ""
    if isinstance(each, tfd.MultivariateNormalLinearOperator):
        each = tfd.Normal(each.mean(), each.stddev())
    family = next((family for family in FAMILIES if isinstance(each, family.kind)), None)
    if family is None:
        return None
    if family.kind in (tfd.Normal, tfd.Logistic, tfd.Laplace):
        scale, what = _scale(each, layer)
    log_prob = family.fit(train, each, scale)
    if log_prob is None:
        return None

    def nll(x: np.ndarray) -> np.ndarray:
        parts = [-log_prob(x[i : i + _ROWS]) for i in range(0, len(x), _ROWS)]
        return np.concatenate([part.reshape(len(part), -1).sum(axis=1) for part in parts])

    return Baseline(f"{family.name}{what}", nll)


def _scale(each: Any, layer: Any) -> tuple[Any, str]:
    """Returns a fixed scale, "shared", or None where each value has its own; and words for it."""
    layer = layer.likelihood if isinstance(layer, Rescaled) else layer
    if isinstance(layer, ParametricLayer) and not isinstance(layer, SharedScale):
        return None, ""
    scale = np.asarray(each.scale, np.float64)
    one_for_all = scale.ndim < len(each.batch_shape)
    if not one_for_all:
        if len(scale) < 2 or (scale != scale[:1]).any():  # it depends on z
            return None, ""
        scale = scale[0]
    alike = scale.size == 1 or (scale == scale.flat[0]).all()
    if layer is not None and layer.trainable_weights:
        return ("shared", " of one scale") if alike else (None, "")
    if alike:
        return float(scale.flat[0]), f" of scale {float(scale.flat[0]):.3g}"
    return scale, " of fixed scales"
