"""A mixture of the encoder's own posteriors as a prior."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.marginals import Prior
from tfp_vae.bridge.side_effects import further_pass
from tfp_vae.distributions.floors import within
from tfp_vae.errors import InputError
from tfp_vae.wiring import Ports


@keras.saving.register_keras_serializable(package="tfp_vae")
class VampPrior(Prior):
    """`p(z) = 1/K sum_k q(z|u_k)`: the encoder's posteriors at K trained pseudo-inputs u_k.

    q is the encoder of the prior's `VAE`, not a copy. The KL has no closed form, and is estimated
    at the decoder's z. Each training step takes the K pseudo-inputs through the encoder too, in
    training mode (Dropout drops, BatchNormalization takes the moments of the pseudo-inputs); losses
    of layers, and moving averages, are of x alone. Tomczak and Welling, arXiv:1705.07120.

    Args:
      pseudo_inputs: K; or their first values, `[K, *x_shape]`, such as K training examples.
      bounds: (low, high), to which pseudo-inputs are clipped, such as the range of pixels; None:
        no bounds. The gradient brings a pseudo-input back from beyond a bound.
      conditions: a dict by name of conditions of the pseudo-inputs, `[K, ...]` each, for an encoder
        that has any; they are not trained. p(z) is then the mixture over both.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: there is no pseudo-input, the encoder does not take the pseudo-inputs or their
        conditions, or the prior is used without a `VAE`, such as in the KL term of the encoder.

    Example:
      >>> from tfp_vae import VAE, data, layers, networks
      >>> digits = data.load("digits")
      >>> vae = VAE(networks.encoder((8, 8, 1), layers.IndependentNormal(2)),
      ...           networks.decoder(2, layers.IndependentBernoulli((8, 8, 1))),
      ...           prior=VampPrior(data.binarized(digits.train[:20])))
      >>> vae.sample(3).shape.as_list(), len(vae.prior.trainable_weights)
      ([3, 8, 8, 1], 1)
    """

    def __init__(
        self,
        pseudo_inputs: Any = 100,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        conditions: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        array = np.asarray(pseudo_inputs)
        self._start = array if array.ndim else None
        self.count = len(array) if array.ndim else int(array)
        if self.count < 1:
            raise InputError("Expected at least one pseudo-input.", pseudo_inputs)
        self.bounds = None if bounds is None else (float(bounds[0]), float(bounds[1]))
        self.conditions = {name: np.asarray(value) for name, value in (conditions or {}).items()}
        self.pseudo_inputs: keras.Variable | None = None

    def bind(self, encoder: keras.Model) -> None:
        added = (getattr(layer, "regularizer", None) for layer in encoder._flatten_layers())
        if any(getattr(each, "prior", None) is self for each in added):
            raise InputError(
                "A VampPrior runs the encoder: expected VAE(encoder, decoder, prior=VampPrior(...))"
                " and an encoder without a KL term.",
                "an encoder whose KL is against the VampPrior",
            )
        ports = Ports(encoder, "x")
        for name, tensor in ports.conditions.items():
            expected = (self.count, *tensor.shape[1:])
            given = self.conditions.get(name)
            if given is None or given.shape != expected:
                raise InputError(
                    f"The encoder is conditioned on {name}: expected VampPrior(..., conditions="
                    f"{{{name!r}: values of shape {expected}}}).",
                    "none" if given is None else f"shape {given.shape}",
                )
        shape = (self.count, *ports.main.shape[1:])
        if self._start is not None and self._start.shape != shape:
            raise InputError(
                f"Expected pseudo-inputs of the encoder's input shape, {shape}.", self._start.shape
            )
        low, high = self.bounds or (-1.0, 1.0)
        start = keras.initializers.RandomUniform(low, high)
        if self.pseudo_inputs is None:
            self.pseudo_inputs = self.add_weight(
                name="pseudo_inputs",
                shape=shape,
                initializer=start if self._start is None else lambda *_, **__: self._start,
            )
        self._ports = lambda: ports  # the weights are tracked and saved as those of the VAE

    def distribution(self, training: bool | None = None) -> tfd.MixtureSameFamily:
        if self.pseudo_inputs is None:
            raise InputError(
                "A VampPrior is a mixture of an encoder's posteriors: expected VAE(encoder, "
                "decoder, prior=VampPrior(...)).",
                "a VampPrior without a VAE",
            )
        u = tf.convert_to_tensor(self.pseudo_inputs)
        if self.bounds is not None:
            u = within(u, *self.bounds)
        ports = self._ports()
        given = {
            name: tf.constant(self.conditions[name], tensor.dtype)
            for name, tensor in ports.conditions.items()
        }
        with further_pass(ports.network):
            posteriors = ports.network(
                ports.pack({ports.main.name: u, **given}), training=bool(training)
            )
        each = getattr(posteriors, "tensor_distribution", posteriors)
        alike = tfd.Categorical(logits=tf.zeros([self.count], each.dtype))
        return tfd.MixtureSameFamily(alike, each)

    def get_config(self) -> dict[str, Any]:
        conditions = {name: value.tolist() for name, value in self.conditions.items()}
        own = {"pseudo_inputs": self.count, "bounds": self.bounds, "conditions": conditions}
        return {**super().get_config(), **own}
