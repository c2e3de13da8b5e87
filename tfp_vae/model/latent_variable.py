"""A latent variable: its posterior, and its prior from the one place that names one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfp_vae.bridge.marginals import Prior, as_prior, unit_normal
from tfp_vae.errors import InputError
from tfp_vae.model.checks import networks
from tfp_vae.model.conditional import Conditional, is_network


def posterior_and_prior(
    variable: str,
    posterior: Any,
    prior: Any,
    roles: tuple[str, str],
    names: Mapping[str, str] | None = None,
) -> tuple[Conditional, Conditional]:
    """Returns q and p of a latent variable.

    Args:
      variable: its name.
      posterior: a network.
      prior: a network of conditions, or what `as_prior` takes, or None: the prior of the
        posterior's `KLDivergenceRegularizer`, else the usual one of the posterior's layer.
      roles: what messages call the two.
      names: of the posterior's inputs, as of a `Conditional`.

    Raises:
      InputError: the posterior is no network, or a prior is named in two places.
    """
    networks.is_a_network(posterior, roles[0])
    q = Conditional(posterior, variable, roles[0], names, is_posterior=True)
    regularizers = [regularizer for _, regularizer in networks.kl_regularizers(posterior)]
    if is_network(prior):
        networks.no_kl_term(regularizers)
        p = Conditional(prior, variable, roles[1])
        p.bind(posterior)
        return q, p
    one = _one_prior(prior, regularizers) or as_prior(_usual_prior(q))
    one.bind(posterior)
    return q, Conditional(one, variable, roles[1])


def _one_prior(given: Any, regularizers: list[Any]) -> Prior | None:
    """Returns the prior that is named, if one is."""
    for regularizer in regularizers if given is not None else ():
        if given is not regularizer.distribution_b and given is not regularizer.prior:
            raise InputError(
                "The prior is expected in one place: VAE(prior=...) or the encoder's "
                "KLDivergenceRegularizer, or the same object in both.",
                f"{given} and {regularizer.distribution_b}",
            )
    if regularizers:
        return regularizers[0].prior
    return None if given is None else as_prior(given)


def _usual_prior(posterior: Conditional) -> Any:
    """Returns the usual prior of a layer: over one value, or over one step of a sequence."""
    make: Any = getattr(posterior.layer, "default_prior", unit_normal)
    return make(posterior.shape if posterior.event_shape is None else posterior.event_shape)
