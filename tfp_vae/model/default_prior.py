"""The one prior of a latent variable, from the place that names it, or the usual one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfp_vae.bridge.marginals import Prior, as_prior, unit_normal
from tfp_vae.errors import InputError
from tfp_vae.model.conditional import Conditional


def default_prior(posterior: Conditional) -> Any:
    """The usual prior of the posterior's layer: over one value, or over one step of a sequence."""
    make: Any = getattr(posterior.layer, "default_prior", unit_normal)
    return make(posterior.shape if posterior.event_shape is None else posterior.event_shape)


def one_prior(given: Any, regularizers: list[Any], default: Callable[[], Any]) -> Prior:
    """The prior, from the one place that names it."""
    if given is None:
        return regularizers[0].prior if regularizers else as_prior(default())
    for regularizer in regularizers:
        if given is not regularizer.distribution_b and given is not regularizer.prior:
            raise InputError(
                "The prior is expected in one place: VAE(prior=...) or the encoder's "
                "KLDivergenceRegularizer, or the same object in both.",
                f"{given} and {regularizer.distribution_b}",
            )
    return regularizers[0].prior if regularizers else as_prior(given)
