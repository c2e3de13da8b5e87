"""The last layer of a network that is a prior over codes, given other values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.code_space import CodeSpace
from tfp_vae.distributions.codes import CodeVectors
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import ParametricLayer, as_shape, to_event_shape
from tfp_vae.layers.base.symbolic import DistributionTensor
from tfp_vae.layers.code_prior import space_of
from tfp_vae.priors.causal import CausalNetwork
from tfp_vae.priors.sequence import CodeSequence


@keras.saving.register_keras_serializable(package="tfp_vae")
class ConditionalCodes(ParametricLayer):
    """`p(codes | t) = prod_i p(c_i | c_1, ..., c_{i - 1}, t_i)`, row by row, by a causal network.

    It ends a network that is the prior of a variable of codes: of those of a lower level given the
    level above, or of all given a label. `log_prob` is exact, and takes one pass; a draw takes one
    for each position. The vectors of the codes are those of the posterior of the model that the
    network is given to. Fitted afterwards by `fit_prior`, as `AutoregressiveCodes`.

    Shapes: input `[..., n units]`, t of all n positions; batch `[...]`, event `event_shape`
    = `[*positions, d]`; as a tensor a draw, unless `convert_to_tensor_fn` says otherwise.

    Args:
      event_shape: (*positions, d), that of the variable.
      num_codes: how many codes there are.
      units: the size of the network.
      convert_to_tensor_fn: see `DistributionLambda`.
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the posterior of the model has other codes, or the layer is used without a model.

    Source: Razavi et al. (VQ-VAE-2), arXiv:1906.00446.

    Example:
      >>> from tfp_vae import LatentModel, layers
      >>> def net(layer, **inputs):
      ...     given = {n: keras.Input(s, name=n) for n, s in inputs.items()}
      ...     flat = [keras.layers.Flatten()(t) for t in given.values()]
      ...     h = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
      ...     return keras.Model(given, layer(keras.layers.Dense(layer.num_parameters)(h)))
      >>> model = LatentModel(
      ...     {"top": (net(layers.VectorQuantized((1, 2), 4), x=(8,)), None),
      ...      "bottom": (net(layers.VectorQuantized((3, 2), 4), x=(8,), top=(1, 2)),
      ...                 net(ConditionalCodes((3, 2), 4, 16), top=(1, 2)))},
      ...     {"x": net(layers.IndependentBernoulli(8), top=(1, 2), bottom=(3, 2))})
      >>> model.sample(5)["bottom"].shape
      TensorShape([5, 3, 2])
    """

    _space: Callable[[], CodeSpace] | None = None

    def __init__(
        self,
        event_shape: Sequence[int],
        num_codes: int,
        units: int = 64,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(convert_to_tensor_fn, seed, **kwargs)
        self.event_shape = as_shape(event_shape)
        self.num_codes, self.units = int(num_codes), int(units)
        self.network = CausalNetwork(
            math.prod(self.event_shape[:-1]), num_codes, units, dtype=self.dtype_policy
        )

    @property
    def num_parameters(self) -> int:
        return self.network.length * self.units

    def bind(self, encoder: keras.Model) -> None:
        """Tells the layer of the posterior whose codes these are."""
        self._space = space_of(encoder, self.name)
        space, shape = self._space(), tuple(encoder.output_shape[1:])
        if (space.num_codes, shape) != (self.num_codes, self.event_shape):
            raise InputError(
                f"{self.name}: expected a posterior of {self.num_codes} codes, over "
                f"{self.event_shape}.",
                f"one of {space.num_codes} codes, over {shape}",
            )

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        if self._space is None:
            raise InputError(
                f"{self.name} takes the vectors of the codes of a posterior: expected the network "
                "to be the prior of a variable of a LatentModel or VAE.",
                "one without a model",
            )
        size = (self.network.length, self.units)
        context = to_event_shape(tf.convert_to_tensor(inputs), size)
        context = tf.ensure_shape(context, [*inputs.shape[:-1], *size])
        space = self._space()
        positions = self.event_shape[:-1]
        return CodeVectors(CodeSequence(self.network, positions, space.dtype, context), space)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        # There are no vectors of codes yet.
        shape = (*inputs.shape[:-1], *self.event_shape)
        return DistributionTensor(
            shape, self.compute_dtype, self, (inputs,), {"training": training}
        )

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], *self.event_shape)
