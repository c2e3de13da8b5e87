"""KL[q || p] for each example: in closed form where TFP has one, by Monte Carlo otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd


def kl_divergence(
    q: tfd.Distribution,
    p: tfd.Distribution,
    points: Callable[[], Any],
    exact: bool | None = None,
) -> tf.Tensor:
    """KL[q || p] in nats.

    Closed form: shape `q.batch_shape`. Monte Carlo: `log q(z) - log p(z)` at `z = points()`, drawn
    from q, with the sample axes of z in front.

    Args:
      q: the distribution that z is drawn from.
      p: the distribution that q is held against.
      points: gives draws from q; called only where Monte Carlo is needed.
      exact: True: closed form or an error; False: Monte Carlo; None: closed form where TFP
        registers one for the pair.

    Raises:
      ValueError: `exact` is True and the pair has no closed form.

    Example:
      >>> float(kl_divergence(tfd.Normal(1., 1.), tfd.Normal(0., 1.), points=lambda: 0.))
      0.5
    """
    if exact is not False:
        try:
            return tfd.kl_divergence(q, p)
        except NotImplementedError as error:  # how TFP says that no rule is registered
            if exact:
                raise ValueError(
                    f"TFP has no closed form of KL[q || p] for q = {_name(q)} and p = {_name(p)}: "
                    "use_exact_kl=None takes Monte Carlo there."
                ) from error
    z = tf.convert_to_tensor(points())
    return q.log_prob(z) - p.log_prob(z)


def _name(distribution: tfd.Distribution) -> str:
    distribution = getattr(distribution, "tensor_distribution", distribution)
    inner = getattr(distribution, "distribution", None)
    outer = type(distribution).__name__
    return f"{outer}({_name(inner)})" if isinstance(inner, tfd.Distribution) else outer
