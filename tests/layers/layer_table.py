"""The table of distribution layers: a new layer is one more row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import layer_references as references
import numpy as np
import scipy.special
import scipy.stats
import tensorflow_probability as tfp

from tfp_vae import NegativeLogLikelihood, layers


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
      gives: those of mean and stddev that the distribution itself gives; none has a closed form
        where it gives none.
      loss: what fits it.
      random: whether the seed decides the draws.
      saturates: whether draws may come to the end of their range, where they have no slope.
      calm: parameters -> those nearby at which draws have a fourth moment, so that their standard
        deviation comes near the distribution's.
    """

    build: Callable[..., Any]
    event_shape: tuple[int, ...]
    params_size: int
    log_prob: Callable[[np.ndarray, np.ndarray], np.ndarray]
    mean: Callable[[np.ndarray], np.ndarray]
    stddev: Callable[[np.ndarray], np.ndarray]
    reparameterized: bool
    gives: tuple[str, ...] = ("mean", "stddev")
    loss: Callable[..., Any] = NegativeLogLikelihood
    random: bool = True
    saturates: bool = False
    calm: Callable[[np.ndarray], np.ndarray] = lambda t: t


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


def _relative(layer, event_shape, moments):
    """A Normal whose moments follow from those of another and two more parameters of each value."""

    def parameters(t, size):
        parts = np.split(t.astype("float64"), 4, axis=1)
        return moments(parts[0], np.logaddexp(0, parts[1]), *parts[2:])

    return _per_value(layer, event_shape, parameters, scipy.stats.norm, True)


def _weighted(loc, scale, other_loc, other):
    precisions = scale**-2, np.logaddexp(0, other) ** -2
    mean = (precisions[0] * loc + precisions[1] * other_loc) / sum(precisions)
    return mean, sum(precisions) ** -0.5


def _residual(loc, scale, shift, ratio):
    return loc + shift, scale * np.exp(5 * np.tanh(ratio / 5))


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


def _shared_scale(event_shape, reference, **options):
    def parameters(t, size):
        return t.astype("float64"), np.full(t.shape, 0.7)

    row = _per_value(layers.SharedScale, event_shape, parameters, reference, True)
    return row._replace(build=lambda **kw: layers.SharedScale(event_shape, **options, **kw))


def _continuous_bernoulli(event_shape):
    def parameters(t, size):
        return (t.astype("float64"),)

    layer = layers.ContinuousBernoulli
    return _per_value(layer, event_shape, parameters, references.ContinuousBernoulli, True)


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


def _negative_binomial(event_shape, low=1e-4):
    def parameters(t, size):
        return np.exp(t[:, :size].astype("float64")), np.maximum(_softplus(t[:, size:]), low)

    family = lambda mean, r: scipy.stats.nbinom(r, r / (r + mean))  # noqa: E731
    return _per_value(layers.NegativeBinomial, event_shape, parameters, family, False, "logpmf")


def _zero_inflated(event_shape):
    def parameters(t, size):
        logit, log_mean, r = np.split(t.astype("float64"), 3, axis=-1)
        return scipy.special.expit(logit), np.exp(log_mean), _softplus(r)

    def family(pi, mean, r):
        return references.ZeroInflated(pi, scipy.stats.nbinom(r, r / (r + mean)))

    layer = layers.ZeroInflatedNegativeBinomial
    return _per_value(layer, event_shape, parameters, family, False, "logpmf")


def _student_t(event_shape):
    def parameters(t, size):
        loc, scale, df = np.split(t.astype("float64"), 3, axis=-1)
        return loc, _softplus(scale), 2 + _softplus(df)

    family = lambda loc, scale, df: scipy.stats.t(df, loc, scale)  # noqa: E731
    row = _per_value(layers.StudentT, event_shape, parameters, family, True)
    df_of_12 = np.repeat(np.array([0, 0, 10], "float32"), row.params_size // 3)
    return row._replace(calm=lambda t: t + df_of_12)


def _deterministic(event_shape):
    row = _per_value(
        layers.Deterministic, event_shape, lambda t, size: (t,), references.PointMass, True
    )
    return row._replace(loss=keras.losses.MeanSquaredError, random=False)


def _together(build, event_shape, own, family):
    """Independent over `event_shape`, with the `own` parameters of each value side by side."""
    each = lambda t: family(t.reshape(-1, *event_shape, own))  # noqa: E731
    axes = tuple(range(1, 1 + len(event_shape)))
    return Row(
        build,
        event_shape,
        int(np.prod(event_shape)) * own,
        lambda t, x: each(t).logpdf(x).sum(axis=axes),
        lambda t: each(t).mean(),
        lambda t: each(t).std(),
        False,
    )


def _categorical(event_shape, k):
    return _together(
        lambda **kw: layers.Categorical(event_shape, k, **kw),
        event_shape,
        k,
        lambda t: references.Tabulated(_log_softmax(t)),
    )


def _quantized(event_shape, k, low, high):
    return _together(
        lambda **kw: layers.QuantizedLogisticMixture(event_shape, k, low, high, **kw),
        event_shape,
        3 * k,
        lambda t: references.quantized_logistic_mixture(t, low, high),
    )


def _vector(build, d, size, family, reparameterized, **fields):
    """Vectors of size d, by a reference of the parameters."""
    return Row(
        build,
        (d,),
        size,
        lambda t, x: family(t).logpdf(x.astype("float64")),
        lambda t: family(t).mean(),
        lambda t: family(t).std(),
        reparameterized,
        **fields,
    )


def _sphere(layer, d, family, reparameterized=True):
    return _vector(lambda **kw: layer(d, **kw), d, d + 1, family, reparameterized)


def _relaxed(d, temperature, **fields):
    return _vector(
        lambda **kw: layers.RelaxedOneHotCategorical(d, temperature, **kw),
        d,
        d,
        lambda t: references.Concrete(t.astype("float64"), temperature),
        True,
        gives=(),
        **fields,
    )


def _on_ball(layer, d, size, family):
    def made(t):
        v, scale = np.split(t.astype("float64"), [d], axis=-1)
        far = np.linalg.norm(v, axis=-1, keepdims=True)
        mu = np.tanh(4 * np.tanh(far / 8)) * v / far
        return family(mu, np.logaddexp(0, scale))

    return _vector(lambda **kw: layer(d, **kw), d, size, made, True, gives=())


def _relaxed_several(d, temperature, n):
    return _vector(
        lambda **kw: layers.RelaxedOneHotCategorical(d, temperature, num_variables=n, **kw),
        n * d,
        n * d,
        lambda t: references.Concretes(t.astype("float64"), temperature, n),
        True,
        gives=(),
    )


def _gamma(event_shape):
    def parameters(t, size):
        return _softplus(t[:, :size]), _softplus(t[:, size:])

    family = lambda a, rate: scipy.stats.gamma(a, scale=1 / rate)  # noqa: E731
    return _per_value(layers.Gamma, event_shape, parameters, family, True)


def _planar(d, k):
    return _vector(
        lambda **kw: layers.PlanarFlow(d, k, **kw),
        d,
        2 * d + k * (2 * d + 1),
        lambda t: references.planar_flow(t, d, k),
        True,
        gives=(),
    )


def _inverse_autoregressive(d, k, context_size):
    def build(**kwargs):
        start = keras.initializers.GlorotUniform(seed=2)  # the same networks each time
        return layers.InverseAutoregressiveFlow(
            d, k, [8], context_size, kernel_initializer=start, **kwargs
        )

    networks = functools.cache(lambda: build().networks)
    return _vector(
        build,
        d,
        2 * d + context_size,
        lambda t: references.inverse_autoregressive_flow(t, d, networks()),
        True,
        gives=(),
    )


def _joint(*rows, **fields):
    """The rows' distributions, which are over vectors, end to end."""

    def each(t):
        ends = np.cumsum([row.params_size for row in rows])[:-1]
        return zip(rows, np.split(t, ends, axis=-1), strict=True)

    def log_prob(t, x):
        ends = np.cumsum([row.event_shape[0] for row in rows])[:-1]
        parts = zip(each(t), np.split(x, ends, axis=-1), strict=True)
        return sum(row.log_prob(own, part) for (row, own), part in parts)

    return Row(
        lambda **kw: layers.Joint([row.build() for row in rows], **kw),
        (sum(row.event_shape[0] for row in rows),),
        sum(row.params_size for row in rows),
        log_prob,
        lambda t: np.concatenate([row.mean(own) for row, own in each(t)], axis=-1),
        lambda t: np.concatenate([row.stddev(own) for row, own in each(t)], axis=-1),
        all(row.reparameterized for row in rows),
        **fields,
    )


_NORMAL = _location_scale(layers.IndependentNormal, (2,), scipy.stats.norm)
_LOGISTIC = _location_scale(layers.IndependentLogistic, (2,), scipy.stats.logistic)

ROWS = {
    "normal-vector": _location_scale(layers.IndependentNormal, (3,), scipy.stats.norm),
    "normal-image": _location_scale(layers.IndependentNormal, (2, 3, 1), scipy.stats.norm),
    "normal-scalar": _location_scale(layers.IndependentNormal, (), scipy.stats.norm),
    "precision-weighted": _relative(layers.PrecisionWeightedNormal, (3,), _weighted),
    "residual": _relative(layers.ResidualNormal, (2, 2), _residual),
    "logistic": _location_scale(layers.IndependentLogistic, (2, 2), scipy.stats.logistic),
    "laplace": _location_scale(layers.Laplace, (3,), scipy.stats.laplace),
    "shared-scale": _shared_scale((2, 2), scipy.stats.norm, scale=0.7, trainable_scale=True),
    "shared-logistic": _shared_scale((3,), scipy.stats.logistic, family="logistic", scale=0.7),
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
    "student-t": _student_t((2, 2)),
    "deterministic": _deterministic((3,)),
    "negative-binomial": _negative_binomial((3,)),
    "zero-inflated": _zero_inflated((2, 2)),
    "categorical": _categorical((2, 2), 4),
    "categorical-256": _categorical((2,), 256),
    "quantized": _quantized((2, 2), 3, 0, 255),
    "quantized-16": _quantized((3,), 2, -1, 15),
    "one-hot-mixture": _mixture(
        lambda **kw: layers.CategoricalMixtureOfOneHotCategorical(4, 3, **kw), 3, _one_hot(4)
    ),
    "relaxed": _relaxed(3, 0.5),
    "relaxed-cold": _relaxed(4, 0.1, saturates=True),
    "von-mises-fisher": _sphere(layers.VonMisesFisher, 3, references.VonMisesFisher),
    "von-mises-fisher-5": _sphere(layers.VonMisesFisher, 5, references.VonMisesFisher),
    "wrapped-normal": _on_ball(layers.WrappedNormal, 3, 6, references.WrappedNormal),
    "riemannian-normal": _on_ball(layers.RiemannianNormal, 3, 4, references.RiemannianNormal),
    "power-spherical": _sphere(layers.PowerSpherical, 2, references.PowerSpherical),
    "power-spherical-5": _sphere(layers.PowerSpherical, 5, references.PowerSpherical),
    "gamma": _gamma((2, 2)),
    "planar-flow": _planar(2, 1),
    "inverse-autoregressive-flow": _inverse_autoregressive(2, 1, 2),
    "joint": _joint(_NORMAL, _relaxed_several(3, 0.5, 2), gives=()),
}

# Another shape or number of a layer that has a row: these run with `pytest --full`.
AGAIN = {
    "normal-vector",
    "normal-scalar",
    "bernoulli-vector",
    "shared-logistic",
    "mixture-logistic",
    "categorical-256",
    "quantized-16",
    "relaxed",
    "von-mises-fisher-5",
    "power-spherical",
}
# Those whose draws, densities or gradients XLA might take otherwise: the others are of these kinds.
COMPILED = {
    "normal-image",
    "tril",
    "student-t",
    "mixture-normal",
    "one-hot",
    "negative-binomial",
    "quantized",
    "von-mises-fisher",
    "gamma",
}
