"""What posteriors of integer codes have in common: each code stands for a vector."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.distributions.code_space import CodeSpace
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer
from tfp_vae.layers.code_prior import UniformCodes


class CodedLayer(IndependentLayer):
    """A point mass on integer codes, one for each of the `positions` of z.

    z is of shape `[*positions, d]`: the vector of each code. A prior over codes
    (`tfp_vae.priors.CodePrior`) asks the layer for `code_space()` alone.

    Args:
      event_shape: (*positions, d); `(d,)` or `d` for one position.
      validate_args: as for the other layers; there is nothing to check.
      **kwargs: as for any Keras layer, without a `KLDivergenceRegularizer`: the prior over codes
        takes the vectors from the model, `VAE(prior=...)`.

    Attributes:
      reports: the methods of the distribution that `fit` and `evaluate` report batch by batch.

    Raises:
      InputError: there is no axis of vectors, or a `KLDivergenceRegularizer` is given.
    """

    tells_training = True
    is_random = False
    reports = ("perplexity",)

    def __init__(
        self,
        event_shape: int | Sequence[int],
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        if self.kl_regularizer is not None:
            raise InputError(
                f"{self.name}: expected the prior over its codes as VAE(encoder, decoder, "
                "prior=...).",
                "a KLDivergenceRegularizer",
            )
        if not self.event_shape:
            raise InputError("Expected event_shape to end in the vectors' dimension.", "()")

    @abc.abstractmethod
    def code_space(self) -> CodeSpace:
        """Returns the vectors of the codes as they are now."""

    def default_prior(self, event_shape: Sequence[int]) -> UniformCodes:
        return UniformCodes()

    def distance(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Returns `sum (a - b)^2` over a z, averaged over the batch."""
        axes = list(range(-len(self.event_shape), 0))
        return tf.reduce_mean(tf.reduce_sum((a - b) ** 2, axis=axes))

    def add_to_losses(self, loss: tf.Tensor) -> None:
        """Adds a scalar to the losses of the model."""
        self.add_loss(tf.cast(loss, keras.config.floatx()))
