"""The table of distribution layers: a new layer is one more row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import scipy.stats
import tensorflow_probability as tfp

from tfp_vae import layers


class Row(NamedTuple):
    """A layer, and what it ought to be.

    Attributes:
      build: the layer, given further keyword arguments.
      event_shape: of one draw.
      params_size: of the last axis of its input.
      log_prob: (parameters `[n, params_size]`, values) -> `[n]` in float64, by another library.
      mean: parameters -> the mean, `[n, *event_shape]`.
      stddev: likewise.
      reparameterized: whether draws carry gradients.
    """

    build: Callable[..., Any]
    event_shape: tuple[int, ...]
    params_size: int
    log_prob: Callable[[np.ndarray, np.ndarray], np.ndarray]
    mean: Callable[[np.ndarray], np.ndarray]
    stddev: Callable[[np.ndarray], np.ndarray]
    reparameterized: bool


def _softplus(t):
    return np.logaddexp(0, t.astype("float64"))


def _log_softmax(t):
    return scipy.special.log_softmax(t.astype("float64"), axis=-1)


def _per_value(layer, event_shape, parameters, family, reparameterized, density="logpdf"):
    """Independent over `event_shape`, by a frozen scipy distribution of the parameters' parts."""
    size = int(np.prod(event_shape))
    axes = tuple(range(1, 1 + len(event_shape)))

    def each(t):
        return family(*(part.reshape(-1, *event_shape) for part in parameters(t, size)))

    return Row(
        lambda **kw: layer(event_shape, **kw),
        event_shape,
        layer.parameters_per_value * size,
        lambda t, x: getattr(each(t), density)(x).sum(axis=axes),
        lambda t: each(t).mean(),
        lambda t: each(t).std(),
        reparameterized,
    )


def _location_scale(layer, event_shape, family):
    def parameters(t, size):
        return t[:, :size].astype("float64"), _softplus(t[:, size:])

    return _per_value(layer, event_shape, parameters, family, True)


def _bernoulli(event_shape):
    def parameters(t, size):
        return (scipy.special.expit(t.astype("float64")),)

    family = scipy.stats.bernoulli
    return _per_value(layers.IndependentBernoulli, event_shape, parameters, family, False, "logpmf")


def _poisson(event_shape):
    def parameters(t, size):
        return (np.exp(t.astype("float64")),)

    family = scipy.stats.poisson
    return _per_value(layers.IndependentPoisson, event_shape, parameters, family, False, "logpmf")


class _ContinuousBernoulli:
    """p^x (1 - p)^(1 - x) / its integral over [0, 1], all by quadrature."""

    def __init__(self, logits):
        self.logits = logits
        self.nodes, self.weights = np.polynomial.legendre.leggauss(60)
        self.nodes, self.weights = (self.nodes + 1) / 2, self.weights / 2

    def _integral(self, of):
        return (of(self.nodes) * np.exp(self.logits[..., None] * self.nodes) * self.weights).sum(-1)

    def logpdf(self, x):
        return self.logits * x - np.log(self._integral(lambda u: 1.0))

    def mean(self):
        return self._integral(lambda u: u) / self._integral(lambda u: 1.0)

    def std(self):
        square = self._integral(lambda u: u**2) / self._integral(lambda u: 1.0)
        return np.sqrt(square - self.mean() ** 2)


def _continuous_bernoulli(event_shape):
    def parameters(t, size):
        return (t.astype("float64"),)

    layer = layers.ContinuousBernoulli
    return _per_value(layer, event_shape, parameters, _ContinuousBernoulli, True)


def _tril(d):
    def moments(t):
        loc, entries = t[:, :d].astype("float64"), t[:, d:].astype("float64")
        lower = np.asarray(tfp.math.fill_triangular(entries))
        diagonal = np.logaddexp(0, np.diagonal(lower, axis1=1, axis2=2)) + 1e-5
        lower = np.tril(lower, -1) + diagonal[:, :, None] * np.eye(d)
        return loc, lower @ lower.transpose(0, 2, 1)

    def log_prob(t, x):
        normal = scipy.stats.multivariate_normal
        each = zip(x, *moments(t), strict=True)
        return np.array([normal(loc, covariance).logpdf(v) for v, loc, covariance in each])

    return Row(
        lambda **kw: layers.MultivariateNormalTriL(d, **kw),
        (d,),
        d + d * (d + 1) // 2,
        log_prob,
        lambda t: moments(t)[0],
        lambda t: np.sqrt(np.diagonal(moments(t)[1], axis1=1, axis2=2)),
        True,
    )


def _diag(d):
    row = _location_scale(layers.IndependentNormal, (d,), scipy.stats.norm)
    return row._replace(build=lambda **kw: layers.MultivariateNormalDiag(d, **kw))


def _one_hot(d):
    p = lambda t: np.exp(_log_softmax(t))  # noqa: E731
    return Row(
        lambda **kw: layers.OneHotCategorical(d, **kw),
        (d,),
        d,
        lambda t, x: (x * _log_softmax(t)).sum(axis=-1),
        p,
        lambda t: np.sqrt(p(t) * (1 - p(t))),
        False,
    )


def _mixture(build, k, component):
    """k weights, then k components, each as the row `component` has it."""

    def parts(t):
        own = t[:, k:].reshape(len(t), k, component.params_size)
        return _log_softmax(t[:, :k]), [own[:, i] for i in range(k)]

    def average(values, t):
        log_w, _ = parts(t)
        w = np.exp(log_w).T.reshape(k, len(t), *[1] * len(component.event_shape))
        return (w * values).sum(axis=0)

    def mean(t):
        return average(np.stack([component.mean(own) for own in parts(t)[1]]), t)

    def stddev(t):
        squares = [component.stddev(own) ** 2 + component.mean(own) ** 2 for own in parts(t)[1]]
        return np.sqrt(average(np.stack(squares), t) - mean(t) ** 2)

    def log_prob(t, x):
        log_w, own = parts(t)
        each = np.stack([component.log_prob(part, x) for part in own], axis=-1)
        return scipy.special.logsumexp(log_w + each, axis=-1)

    size = k * (1 + component.params_size)
    return Row(build, component.event_shape, size, log_prob, mean, stddev, False)


_NORMAL = _location_scale(layers.IndependentNormal, (2,), scipy.stats.norm)
_LOGISTIC = _location_scale(layers.IndependentLogistic, (2,), scipy.stats.logistic)

ROWS = {
    "normal-vector": _location_scale(layers.IndependentNormal, (3,), scipy.stats.norm),
    "normal-image": _location_scale(layers.IndependentNormal, (2, 3, 1), scipy.stats.norm),
    "normal-scalar": _location_scale(layers.IndependentNormal, (), scipy.stats.norm),
    "logistic": _location_scale(layers.IndependentLogistic, (2, 2), scipy.stats.logistic),
    "laplace": _location_scale(layers.Laplace, (3,), scipy.stats.laplace),
    "bernoulli-vector": _bernoulli((4,)),
    "bernoulli-image": _bernoulli((2, 3, 1)),
    "poisson": _poisson((3,)),
    "continuous-bernoulli": _continuous_bernoulli((2, 2)),
    "tril": _tril(3),
    "diagonal": _diag(3),
    "one-hot": _one_hot(4),
    "mixture-normal": _mixture(lambda **kw: layers.MixtureNormal(3, 2, **kw), 3, _NORMAL),
    "mixture-logistic": _mixture(lambda **kw: layers.MixtureLogistic(2, 2, **kw), 2, _LOGISTIC),
    "mixture-tril": _mixture(
        lambda **kw: layers.MixtureSameFamily(2, layers.MultivariateNormalTriL(2), **kw),
        2,
        _tril(2),
    ),
}
