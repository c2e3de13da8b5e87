"""Mixtures of Normals that scikit-learn estimates, as TFP distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError


def is_mixture(value: Any) -> bool:
    """Returns whether the value is a mixture of Normals of scikit-learn.

    Example:
      >>> is_mixture("GaussianMixture")
      False
    """
    if not type(value).__module__.startswith("sklearn."):
        return False
    from sklearn import mixture

    return isinstance(value, (mixture.GaussianMixture, mixture.BayesianGaussianMixture))


def fitted_mixture(estimator: Any, z: np.ndarray) -> tfd.MixtureSameFamily:
    """Fits a copy of the estimator to `z [n, d]` and returns its mixture, of constants.

    Args:
      estimator: a `sklearn.mixture.GaussianMixture` or `BayesianGaussianMixture` with any kind of
        covariance.
      z: the examples.

    Raises:
      InputError: there are fewer z than components.

    Example:
      >>> from sklearn.mixture import GaussianMixture
      >>> z = np.array([[-1.], [-3.], [1.], [3.]], "float32")
      >>> round(float(fitted_mixture(GaussianMixture(1), z).stddev()[0]), 3)
      2.236
    """
    from sklearn.base import clone

    if len(z) < estimator.n_components:
        raise InputError(f"Expected at least {estimator.n_components} z, as components.", len(z))
    found = clone(estimator).fit(z.astype("float64"))
    weights, loc = (value.astype(z.dtype) for value in (found.weights_, found.means_))
    covariance, kind = found.covariances_, found.covariance_type
    components: tfd.Distribution
    if kind in ("full", "tied"):
        lower = np.linalg.cholesky(np.broadcast_to(covariance, (*loc.shape, loc.shape[1])))
        components = tfd.MultivariateNormalTriL(loc, lower.astype(z.dtype))
    else:
        variance = covariance if kind == "diag" else covariance[:, np.newaxis]
        scale = np.broadcast_to(np.sqrt(variance), loc.shape)
        components = tfd.MultivariateNormalDiag(loc, scale.astype(z.dtype))
    return tfd.MixtureSameFamily(tfd.Categorical(probs=weights), components)
