"""A normalizing flow as a prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.marginals import Prior, unit_normal
from tfp_vae.bridge.precision import full_precision
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputError
from tfp_vae.layers.coupling import CouplingNetwork
from tfp_vae.layers.made import AutoregressiveNetwork


@keras.saving.register_keras_serializable(package="tfp_vae")
class FlowPrior(ConfigFromSignature, Prior):
    """`log p(z) = log N(f^-1(z); 0, I) + log |det d f^-1(z) / dz|`, f a chain of trained flows.

    "maf": masked autoregressive flows; a density takes one pass through the networks, a draw
    `event_size` passes (Papamakarios et al., arXiv:1705.07057). "realnvp": affine couplings of the
    two halves of z; a density or draw takes one pass (Dinh et al., arXiv:1605.08803). The order of
    the entries, or the half that changes, alternates from flow to flow. The KL is estimated at the
    decoder's z. As the prior of a VAE: Chen et al., arXiv:1611.02731.

    Args:
      event_size: the size of z.
      kind: "maf" or "realnvp".
      num_flows: the number of flows.
      hidden_units: the sizes of the hidden layers of each flow's network.
      activation: of the hidden layers.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: an argument is out of its range; "realnvp" takes an event_size of at least 2.

    Example:
      >>> p = FlowPrior(3, "realnvp", num_flows=2, hidden_units=[16]).distribution()
      >>> p.sample(5).shape.as_list(), p.log_prob(tf.zeros([5, 3])).shape.as_list()
      ([5, 3], [5])
    """

    @checked
    def __init__(
        self,
        event_size: int,
        kind: Literal["maf", "realnvp"] = "maf",
        num_flows: int = 4,
        hidden_units: Sequence[int] = (64, 64),
        activation: Any = "relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kind not in ("maf", "realnvp"):
            raise InputError('Expected kind to be "maf" or "realnvp".', repr(kind))
        least = 1 if kind == "maf" else 2
        if event_size < least:
            raise InputError(f"Expected event_size >= {least}, as {kind} takes it.", event_size)
        self.event_size, self.num_flows, self.kind = int(event_size), int(num_flows), kind
        self.hidden_units = [int(units) for units in hidden_units]
        self.activation = keras.activations.get(activation)
        make = self._made if kind == "maf" else self._coupling
        self.networks = [make(number) for number in range(self.num_flows)]

    def _made(self, number: int) -> AutoregressiveNetwork:
        return AutoregressiveNetwork(
            2,
            self.event_size,
            hidden_units=self.hidden_units,
            input_order="right-to-left" if number % 2 else "left-to-right",
            activation=self.activation,
            dtype=full_precision(),
        )

    def _coupling(self, number: int) -> CouplingNetwork:
        seen = abs(self._seen(number))
        return CouplingNetwork(
            seen,
            self.event_size - seen,
            self.hidden_units,
            self.activation,
            dtype=full_precision(),
        )

    def _seen(self, number: int) -> int:
        """Returns n of the first n entries, which the network sees, or -n of the last n."""
        half = self.event_size // 2
        return half - self.event_size if number % 2 else half

    def _bijector(self, number: int) -> tfb.Bijector:
        network = self.networks[number]
        if self.kind == "realnvp":
            return tfb.RealNVP(self._seen(number), shift_and_log_scale_fn=network)
        return tfb.MaskedAutoregressiveFlow(lambda z: tf.unstack(network(z), axis=-1))

    def distribution(self) -> tfd.TransformedDistribution:
        # Anew each time: TFP's bijectors keep tensors, also of another graph.
        flows = [self._bijector(number) for number in range(self.num_flows)]
        return tfd.TransformedDistribution(unit_normal(self.event_size), tfb.Chain(flows))
