"""The prior of a latent variable that is given none."""

from __future__ import annotations

from typing import Any

from tfp_vae.conditional import Conditional
from tfp_vae.prior import unit_normal


def default_prior(posterior: Conditional) -> Any:
    """The usual prior of the posterior's layer: over one value, or over one step of a sequence."""
    make = getattr(posterior.layer, "default_prior", unit_normal)
    shape: Any = posterior.shape
    outline = posterior.outline() if None in shape else None
    return make(shape if outline is None else tuple(outline.event_shape))
