"""A sparse variational Gaussian process as a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.gaussian_process import GaussianProcessOutput
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.distribution_layer import DistributionLayer
from tfp_vae.layers.base.parametric import as_shape

_LITTLE_NOISE = keras.initializers.Constant(-10.0)


@keras.saving.register_keras_serializable(package="tfp_vae")
class VariationalGaussianProcess(DistributionLayer):
    """q(f(x)) of a sparse Gaussian process: `f ~ GP(m, k)`, known through m inducing points.

    `q(f) = E_q(u)[p(f|u)]` with `q(u) = N(loc, scale scale')` at trained index points. Input
    `[points, features]`; batch `[]`, event `[points, *event_shape]`; as a tensor a draw. Besides
    the methods of every distribution the output has `variational_loss(y, kl_weight)`, the negative
    ELBO: compile with
    `loss=lambda y, f: f.variational_loss(y, kl_weight=batch_size / num_examples)`.

    Args:
      num_inducing_points: m.
      kernel_provider: a Keras layer with a property `kernel`, a
        `tfp.math.psd_kernels.PositiveSemidefiniteKernel` of the layer's weights. This layer takes
        its dtype; float64 is advisable.
      event_shape: the shape of f(x), with an independent process for each number.
      inducing_index_points_initializer: a Keras initializer for `[*event_shape, m, features]`;
        scatter the points over the data. None: Keras' default.
      unconstrained_observation_noise_variance_initializer: for the noise variance before its
        softplus; None: there is no noise.
      variational_inducing_observations_scale_initializer: for `scale`; None: 1e-5 I.
      mean_fn: the function m(x); None: a trained constant.
      jitter: is added to the diagonals of kernel matrices.

    Raises:
      InputError: `kernel_provider` has no such kernel.

    Source: Titsias (2009), "Variational learning of inducing variables in sparse Gaussian
    processes"; Hensman et al., arXiv:1309.6835.

    Example:
      >>> class Kernel(keras.layers.Layer):
      ...     def __init__(self, **kwargs):
      ...         super().__init__(**kwargs)
      ...         self.log_scale = self.add_weight(shape=(), initializer="zeros")
      ...     @property
      ...     def kernel(self):
      ...         scale = tf.exp(tf.convert_to_tensor(self.log_scale))
      ...         return tfp.math.psd_kernels.ExponentiatedQuadratic(length_scale=scale)
      >>> layer = VariationalGaussianProcess(5, Kernel(dtype="float64"))
      >>> layer(np.linspace(-1., 1., 8)[:, None]).event_shape.as_list()
      [8, 1]
    """

    def __init__(
        self,
        num_inducing_points: int,
        kernel_provider: keras.layers.Layer,
        event_shape: Any = (1,),
        inducing_index_points_initializer: Any = None,
        unconstrained_observation_noise_variance_initializer: Any = _LITTLE_NOISE,
        variational_inducing_observations_scale_initializer: Any = None,
        mean_fn: Callable[[Any], Any] | None = None,
        jitter: float = 1e-6,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        name: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        of_kernel = getattr(kernel_provider, "variable_dtype", None)
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = of_kernel
        chosen = keras.dtype_policies.get(kwargs["dtype"]).compute_dtype
        # The kernel's dtype is for the process: as a tensor the output is of Keras' floatx.
        own_dtype = None if chosen != of_kernel else False
        super().__init__(convert_to_tensor_fn, seed, name=name, own_dtype=own_dtype, **kwargs)
        kernel = getattr(kernel_provider, "kernel", None)
        if not isinstance(kernel, tfp.math.psd_kernels.PositiveSemidefiniteKernel):
            raise InputError(
                f"{self.name}: expected kernel_provider to be a Keras layer with a property "
                "`kernel`, a tfp.math.psd_kernels.PositiveSemidefiniteKernel.",
                f"{kernel_provider} with kernel {kernel}",
            )
        self.num_inducing_points = int(num_inducing_points)
        self.kernel_provider = kernel_provider
        self.event_shape = as_shape(event_shape)
        self.mean_fn = mean_fn
        self.hold(mean_fn, self.convert_to_tensor_fn)
        self.jitter = jitter
        self.inducing_index_points_initializer = inducing_index_points_initializer
        self.unconstrained_observation_noise_variance_initializer = (
            unconstrained_observation_noise_variance_initializer
        )
        self.variational_inducing_observations_scale_initializer = (
            variational_inducing_observations_scale_initializer
        )

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        outputs, points = self.event_shape, self.num_inducing_points
        features = input_shape[-self.kernel_provider.kernel.feature_ndims :]
        if self.mean_fn is None:
            self.constant_mean = self.add_weight(name="mean", shape=(), initializer="zeros")
        if self.unconstrained_observation_noise_variance_initializer is not None:
            self.unconstrained_noise = self.add_weight(
                name="observation_noise_variance",
                shape=(),
                initializer=self.unconstrained_observation_noise_variance_initializer,
            )
        self.inducing_index_points = self.add_weight(
            name="inducing_index_points",
            shape=(*outputs, points, *features),
            initializer=self.inducing_index_points_initializer,
        )
        self.variational_inducing_observations_loc = self.add_weight(
            name="variational_inducing_observations_loc",
            shape=(*outputs, points),
            initializer="zeros",
        )
        scale = self.variational_inducing_observations_scale_initializer
        if scale is None:
            scale = keras.initializers.Constant(1e-5 * np.eye(points))
        self.variational_inducing_observations_scale = self.add_weight(
            name="variational_inducing_observations_scale",
            shape=(*outputs, points, points),
            initializer=scale,
        )

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        noise = 0.0
        if self.unconstrained_observation_noise_variance_initializer is not None:
            noise = tf.math.softplus(tf.convert_to_tensor(self.unconstrained_noise))
        return self.new(
            inputs,
            self.kernel_provider,
            self.event_shape,
            tf.convert_to_tensor(self.inducing_index_points),
            self.mean_fn or (lambda x: tf.convert_to_tensor(self.constant_mean)),
            tf.convert_to_tensor(self.variational_inducing_observations_loc),
            tf.convert_to_tensor(self.variational_inducing_observations_scale),
            noise,
            self.jitter,
        )

    @staticmethod
    def new(
        x: Any,
        kernel_provider: keras.layers.Layer,
        event_shape: Any,
        inducing_index_points: Any,
        mean_fn: Callable[[Any], Any],
        variational_inducing_observations_loc: Any,
        variational_inducing_observations_scale: Any,
        observation_noise_variance: Any,
        jitter: float = 1e-6,
        name: str | None = None,
    ) -> GaussianProcessOutput:
        """Returns the distribution of f at the index points `x [points, features]`."""
        process = tfd.VariationalGaussianProcess(
            kernel=kernel_provider.kernel,
            index_points=x,
            inducing_index_points=inducing_index_points,
            variational_inducing_observations_loc=variational_inducing_observations_loc,
            variational_inducing_observations_scale=variational_inducing_observations_scale,
            mean_fn=mean_fn,
            observation_noise_variance=observation_noise_variance,
            jitter=jitter,
        )
        return GaussianProcessOutput(
            tfd.Independent(process, reinterpreted_batch_ndims=1),
            tfb.Transpose(rightmost_transposed_ndims=2),
            name=name or "VariationalGaussianProcess",
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> VariationalGaussianProcess:
        initial = {key: cls.load(config[key]) for key in config if key.endswith("_initializer")}
        return super().from_config({**config, **initial})
