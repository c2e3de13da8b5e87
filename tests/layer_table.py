"""The table of distribution layers: a new layer is one more row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import scipy.stats

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


def _normal(event_shape):
    size = int(np.prod(event_shape))
    loc = lambda t: t[:, :size].astype("float64").reshape(-1, *event_shape)  # noqa: E731
    scale = lambda t: _softplus(t[:, size:]).reshape(-1, *event_shape)  # noqa: E731
    axes = tuple(range(1, 1 + len(event_shape)))
    return Row(
        lambda **kw: layers.IndependentNormal(event_shape, **kw),
        event_shape,
        2 * size,
        lambda t, x: scipy.stats.norm(loc(t), scale(t)).logpdf(x).sum(axis=axes),
        loc,
        scale,
        True,
    )


def _bernoulli(event_shape):
    size = int(np.prod(event_shape))
    p = lambda t: scipy.special.expit(t.astype("float64")).reshape(-1, *event_shape)  # noqa: E731
    axes = tuple(range(1, 1 + len(event_shape)))
    return Row(
        lambda **kw: layers.IndependentBernoulli(event_shape, **kw),
        event_shape,
        size,
        lambda t, x: scipy.stats.bernoulli(p(t)).logpmf(x).sum(axis=axes),
        p,
        lambda t: np.sqrt(p(t) * (1 - p(t))),
        False,
    )


ROWS = {
    "normal-vector": _normal((3,)),
    "normal-image": _normal((2, 3, 1)),
    "normal-scalar": _normal(()),
    "bernoulli-vector": _bernoulli((4,)),
    "bernoulli-image": _bernoulli((2, 3, 1)),
}
