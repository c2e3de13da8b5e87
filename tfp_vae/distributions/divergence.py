"""KL[q || p] for each example: in closed form where there is one, by Monte Carlo otherwise."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.origins import blocks_of
from tfp_vae.distributions.blockwise import alike, parts
from tfp_vae.distributions.density import log_density
from tfp_vae.distributions.gaussian_kl import gaussian_kl, same_events
from tfp_vae.errors import InputError


class Block(NamedTuple):
    """One block of a posterior and of a prior, and its part of z."""

    posterior: tfd.Distribution
    prior: tfd.Distribution
    z: tf.Tensor


def blocks(q: tfd.Distribution, p: tfd.Distribution, z: Any) -> list[Block]:
    """Returns the blocks of q and p with their parts of z, for a weight of each block's KL.

    The blocks are those of a `Joint` layer's posterior and prior, or of two `tfd.Blockwise` of the
    same sizes; otherwise q, p and z are one block.

    Example:
      >>> normal = lambda d: tfd.MultivariateNormalDiag(tf.zeros(d))
      >>> q = p = tfd.Blockwise([normal(2), normal(3)])
      >>> [block.z.shape.as_list() for block in blocks(q, p, tf.zeros([7, 5]))]
      [[7, 2], [7, 3]]
    """
    ours, theirs = parts(q), parts(p)
    if len(ours) == 1 or not alike(q, p):
        return [Block(q, p, z)]
    each = blocks_of(z, [part.event_shape[-1] for part in ours])
    return [Block(*block) for block in zip(ours, theirs, each, strict=True)]


def kl_divergence(
    q: tfd.Distribution,
    p: tfd.Distribution,
    points: Callable[[], Any],
    exact: bool | None = None,
    log_q: Callable[[], tf.Tensor] | None = None,
) -> tf.Tensor:
    """Returns KL[q || p] in nats, of blocks of the same sizes the sum over the blocks.

    Closed form: shape `q.batch_shape`. Monte Carlo: `log q(z) - log p(z)` at `z = points()`, drawn
    from q, with the sample axes of z in front.

    Args:
      q: the distribution of z.
      p: the other distribution, such as a prior.
      points: gives draws from q; called for Monte Carlo only.
      log_q: gives the known `log q(z)` at these points; None: q computes it.
      exact: True: closed form or an error; False: Monte Carlo; None: closed form where there is
        one for the pair: TFP's, or that of any two Normals (`tfp_vae.distributions.gaussian_kl`).

    Raises:
      ValueError: `exact` is True and the pair has no closed form, or (`InputError`) q and p are
        over events of different shapes.

    Example:
      >>> float(kl_divergence(tfd.Normal(1., 1.), tfd.Normal(0., 1.), points=lambda: 0.))
      0.5
    """
    same_events(q, p)
    pairs = list(zip(parts(q), parts(p), strict=False))
    if exact is not False and len(pairs) > 1 and alike(q, p):
        z = functools.cache(lambda: tf.convert_to_tensor(points()))

        def part(number: int) -> Callable[[], tf.Tensor]:
            return lambda: blocks(q, p, z())[number].z

        return sum(kl_divergence(a, b, part(i), exact) for i, (a, b) in enumerate(pairs))
    if exact is not False:
        # Of a sequence whose steps depend on those before: of each step, given those of the draw.
        of_steps = getattr(getattr(q, "tensor_distribution", q), "of_steps_before", None)
        try:
            return closed_form(q if of_steps is None else of_steps(points()), p)
        except NotImplementedError as error:  # how TFP says that no rule is registered
            if exact:
                raise InputError(
                    f"KL[q || p] has no closed form for q = {_name(q)} and p = {_name(p)}: "
                    "use_exact_kl=None takes Monte Carlo there."
                ) from error
    draws = tf.convert_to_tensor(points())
    return (log_density(q, draws) if log_q is None else log_q()) - log_density(p, draws)


def closed_form(q: tfd.Distribution, p: tfd.Distribution) -> tf.Tensor:
    """Returns KL[q || p] in closed form, in nats, `[batch]`.

    Raises:
      NotImplementedError: the pair has none.
    """
    if len(parts(q)) > 1 and len(parts(p)) > 1:
        # TFP pairs their blocks, whatever the sizes.
        raise NotImplementedError("The blocks are of other sizes.")
    try:
        return tfd.kl_divergence(q, p)
    except (NotImplementedError, ValueError) as error:
        # TFP's rules of Independent and of Sample take equally nested pairs only.
        try:
            return gaussian_kl(q, p)
        except NotImplementedError:
            raise error from None


def _name(distribution: tfd.Distribution) -> str:
    distribution = getattr(distribution, "tensor_distribution", distribution)
    inner = getattr(distribution, "distribution", None)
    outer = type(distribution).__name__
    return f"{outer}({_name(inner)})" if isinstance(inner, tfd.Distribution) else outer
