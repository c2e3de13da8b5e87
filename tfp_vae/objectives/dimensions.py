"""The single dimensions of a distribution over vectors."""

from __future__ import annotations

from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError


def independent_base(distribution: tfd.Distribution) -> tfd.Distribution:
    """Returns the distributions of the single latent dimensions, `[..., dimensions]`.

    Raises:
      InputError: the dimensions are not independent, or not one axis.
    """
    distribution = getattr(distribution, "tensor_distribution", distribution)
    if isinstance(distribution, tfd.MultivariateNormalDiag):
        return tfd.Normal(distribution.loc, distribution.stddev())
    if isinstance(distribution, tfd.Independent) and distribution.event_shape.rank == 1:
        return distribution.distribution
    raise InputError(
        "Expected a posterior and a prior over vectors whose dimensions are independent, such as "
        "IndependentNormal and a unit normal.",
        f"a {distribution.name}, event shape {distribution.event_shape}",
    )
