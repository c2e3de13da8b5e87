"""Three ways to draw `W x`, W ~ q(W): all unbiased, with gradients of different variance."""

from __future__ import annotations

import abc

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfp_vae.layers.bayesian.base import BayesianLayer


class Reparameterization(BayesianLayer, abc.ABC):
    """One W for the whole batch: Kingma and Welling, arXiv:1312.6114; any posterior will do."""

    def estimate(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        kernel = self.drawn(self.kernel_posterior, self.kernel_posterior_tensor_fn)
        return self.affine(inputs, tf.cast(kernel, inputs.dtype)), kernel


class LocalReparameterization(BayesianLayer, abc.ABC):
    """Draws each output from its own Normal: `N(loc x, scale^2 x^2)`; no W is ever drawn.

    Kingma, Salimans and Welling, arXiv:1506.02557. The divergence function gets None for w.

    Raises:
      TypeError: `kernel_posterior_fn` makes no `tfd.Independent(tfd.Normal(...))`.
    """

    needs_normal = True
    draws_kernel = False

    def estimate(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        q = self.kernel_posterior.distribution
        loc = self.affine(inputs, tf.cast(q.mean(), inputs.dtype))
        x = tf.cast(inputs, q.dtype)  # squares overflow in half precision
        variance = self.affine(tf.square(x), q.variance())
        # An input of zeros has variance 0, where the root has no finite gradient.
        scale = tf.sqrt(tf.maximum(variance, q.dtype.as_numpy_dtype(_SMALLEST)))
        outputs = tfd.Normal(tf.cast(loc, q.dtype), scale)
        drawn = self.drawn(outputs, self.kernel_posterior_tensor_fn)
        return tf.cast(drawn, inputs.dtype), None


class Flipout(BayesianLayer, abc.ABC):
    """`loc x + s_out * (D (s_in * x))`: D ~ N(0, scale^2) once, random signs for each example.

    Examples of one batch have nearly independent weights. Wen et al., arXiv:1803.04386. The
    divergence function gets `loc + D`, which is distributed as q(W).

    Raises:
      TypeError: `kernel_posterior_fn` makes no `tfd.Independent(tfd.Normal(...))`.
    """

    needs_normal = True

    def estimate(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        q = self.kernel_posterior.distribution
        loc = q.mean()
        noise = tfd.Normal(tf.zeros_like(loc), q.stddev())
        perturbation = self.drawn(noise, self.kernel_posterior_tensor_fn)
        outputs = self.affine(inputs, tf.cast(loc, inputs.dtype))
        flipped = self.affine(inputs * self._signs(inputs), tf.cast(perturbation, inputs.dtype))
        return outputs + flipped * self._signs(outputs), loc + perturbation

    def _signs(self, tensor: tf.Tensor) -> tf.Tensor:
        return tfp.random.rademacher(self.sign_shape(tensor), tensor.dtype, seed=self.next_seed())


_SMALLEST = 1e-37  # about the smallest normal number of float32
