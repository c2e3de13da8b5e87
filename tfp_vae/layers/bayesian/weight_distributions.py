"""Distributions over the weights of a Bayesian layer, as functions that make their variables.

All have the contract of `tfp.layers`: `fn(dtype, shape, name, trainable, add_variable_fn)`, where
`add_variable_fn(name=, shape=, initializer=, regularizer=, constraint=, dtype=, trainable=)` makes
a weight of the layer and returns it as a `tf.Variable`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.distributions.floors import softplus_above


@keras.saving.register_keras_serializable(package="tfp_vae")
class default_loc_scale_fn(ConfigFromSignature):
    """`fn(...)` makes a location and a scale: `scale = eps + softplus(u)`, eps the dtype's epsilon.

    Args:
      is_singular: True: the scale is None.
      loc_initializer: of the location; None: `N(0, 0.1^2)`.
      untransformed_scale_initializer: of u; None: `N(-3, 0.1^2)`, a scale of about 0.05.
      loc_regularizer: adds to the layer's losses.
      untransformed_scale_regularizer: likewise.
      loc_constraint: projects the location after each step.
      untransformed_scale_constraint: projects u likewise.

    An initializer without a seed gives each weight its own values, also in layers that share this
    function; `keras.utils.set_random_seed` makes the values repeatable.

    Example:
      >>> fn = default_loc_scale_fn(loc_initializer="zeros")
      >>> def variable(initializer, shape, dtype, **kwargs):
      ...     return tf.Variable(initializer(shape, dtype))
      >>> loc, scale = fn(tf.float32, [2], "kernel", True, variable)
      >>> loc.numpy().tolist(), scale.shape.as_list()
      ([0.0, 0.0], [2])
    """

    @checked
    def __init__(
        self,
        is_singular: bool = False,
        loc_initializer: Any = None,
        untransformed_scale_initializer: Any = None,
        loc_regularizer: Any = None,
        untransformed_scale_regularizer: Any = None,
        loc_constraint: Any = None,
        untransformed_scale_constraint: Any = None,
    ) -> None:
        self.is_singular = is_singular
        self.loc_initializer = keras.initializers.get(loc_initializer)
        self.untransformed_scale_initializer = keras.initializers.get(
            untransformed_scale_initializer
        )
        self.loc_regularizer = keras.regularizers.get(loc_regularizer)
        self.untransformed_scale_regularizer = keras.regularizers.get(
            untransformed_scale_regularizer
        )
        self.loc_constraint = keras.constraints.get(loc_constraint)
        self.untransformed_scale_constraint = keras.constraints.get(untransformed_scale_constraint)

    def __call__(
        self,
        dtype: tf.DType,
        shape: Sequence[int],
        name: str,
        trainable: bool,
        add_variable_fn: Callable[..., Any],
    ) -> Any:
        def parameter(which: str, mean: float) -> Any:
            return add_variable_fn(
                name=f"{name}_{which}",
                shape=shape,
                initializer=_fresh(getattr(self, f"{which}_initializer"), mean),
                regularizer=getattr(self, f"{which}_regularizer"),
                constraint=getattr(self, f"{which}_constraint"),
                dtype=dtype,
                trainable=trainable,
            )

        loc = parameter("loc", mean=0.0)
        if self.is_singular:
            return loc, None
        epsilon = np.finfo(dtype.as_numpy_dtype).eps
        return loc, tfp.util.DeferredTensor(
            parameter("untransformed_scale", mean=-3.0), lambda u: softplus_above(u, epsilon)
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**{key: cls.load(value) for key, value in config.items()})


@keras.saving.register_keras_serializable(package="tfp_vae")
class default_mean_field_normal_fn(default_loc_scale_fn):
    """`fn(...)` makes `prod_i N(w_i; loc_i, scale_i^2)`, a distribution over a whole weight tensor.

    `tfd.Independent(tfd.Normal(loc, scale))`, event `shape`; where `is_singular`, a
    `tfd.Deterministic(loc)` instead of the Normal. The arguments are those of
    `default_loc_scale_fn`. Graves, "Practical Variational Inference for Neural Networks", 2011;
    Blundell et al., arXiv:1505.05424.

    Example:
      >>> from tfp_vae import layers
      >>> point = default_mean_field_normal_fn(is_singular=True)
      >>> layer = layers.DenseReparameterization(3, kernel_posterior_fn=point, kernel_prior_fn=None)
      >>> layer.build((None, 2))
      >>> layer.kernel_posterior.event_shape.as_list(), len(layer.trainable_weights)
      ([2, 3], 2)
    """

    def __call__(
        self,
        dtype: tf.DType,
        shape: Sequence[int],
        name: str,
        trainable: bool,
        add_variable_fn: Callable[..., Any],
    ) -> tfd.Independent:
        loc, scale = super().__call__(dtype, shape, name, trainable, add_variable_fn)
        each = tfd.Deterministic(loc) if scale is None else tfd.Normal(loc, scale)
        return tfd.Independent(each, reinterpreted_batch_ndims=len(shape))


@keras.saving.register_keras_serializable(package="tfp_vae")
def default_multivariate_normal_fn(
    dtype: tf.DType,
    shape: Sequence[int],
    name: str,
    trainable: bool,
    add_variable_fn: Callable[..., Any],
) -> tfd.Independent:
    """Returns `prod_i N(w_i; 0, 1)` over a whole weight tensor: the default prior, no variable.

    Example:
      >>> prior = default_multivariate_normal_fn(tf.float32, (2, 3), "prior", False, None)
      >>> prior.event_shape.as_list(), float(prior.log_prob(tf.zeros((2, 3))))
      ([2, 3], -5.513631343841553)
    """
    one = tf.ones([], dtype)
    return tfd.Independent(
        tfd.Normal(tf.zeros(shape, dtype), one), reinterpreted_batch_ndims=len(shape)
    )


def _fresh(initializer: Any, mean: float) -> Any:
    """Returns a new instance: one instance called twice gives the same values twice."""
    if initializer is None:
        return keras.initializers.RandomNormal(mean, 0.1)
    if isinstance(initializer, keras.initializers.Initializer):
        return initializer.clone()
    return initializer
