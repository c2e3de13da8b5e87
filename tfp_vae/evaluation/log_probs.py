"""What a fit to data gives: a function from new data to their log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

LogProb = Callable[[np.ndarray], np.ndarray]  # of x [n, ...], for each entry or for each row


def of(distribution: tfd.Distribution) -> LogProb:
    """Returns the `log_prob` of a distribution, for arrays."""
    return lambda new: distribution.log_prob(new.astype(np.float64)).numpy()


def by_column(found: np.ndarray, make: Callable[[Any], Any], x: np.ndarray) -> LogProb:
    """Returns the `log_prob` of the distributions that `make` gives for the columns of x."""
    distribution = make(tf.constant(found))
    return lambda new: (
        distribution.log_prob(new.reshape(len(new), -1).astype(np.float64))
        .numpy()
        .reshape(len(new), *x.shape[1:])
    )
