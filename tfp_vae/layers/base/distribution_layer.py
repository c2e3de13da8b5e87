"""A layer from tensors to a distribution, the base of all distribution layers."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.casts import warn_where_lost
from tfp_vae.bridge.closures import Holding
from tfp_vae.bridge.coercible import TensorCoercible
from tfp_vae.bridge.marginals import unit_normal
from tfp_vae.bridge.masks import mask_of
from tfp_vae.bridge.precision import full_precision, wider
from tfp_vae.bridge.random_state import Seeded
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputTypeError
from tfp_vae.layers.base.cast import GivenDistributions
from tfp_vae.layers.base.checks import ChecksArguments
from tfp_vae.layers.base.conversion import ConvertToTensor, by_name, concretize, is_draw
from tfp_vae.layers.base.docstrings import DocumentsArguments
from tfp_vae.layers.base.lambdas import with_names
from tfp_vae.layers.base.loops import RefusesLoops
from tfp_vae.layers.base.symbolic import DistributionTensor, shapes_of, spec_of
from tfp_vae.layers.base.tfp_attributes import Theirs
from tfp_vae.layers.kl_divergence import KLDivergenceRegularizer, adds_kl_terms


class DistributionLayer(
    ChecksArguments,
    DocumentsArguments,
    Seeded,
    Holding,
    RefusesLoops,
    GivenDistributions,
    ConfigFromSignature,
    keras.layers.Layer,
    abc.ABC,
):
    """A layer that makes a distribution; a subclass says which in `make_distribution`.

    Args:
      convert_to_tensor_fn: see `DistributionLambda`.
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer; `activity_regularizer=KLDivergenceRegularizer(...)`.

    Attributes:
      support: (low, high): values outside have probability 0; None: any number has a density.
      is_of_integers: whether only whole numbers have a probability, such as counts.
      is_random: False where all draws are equal.
      has_density: False where `log_prob` is not in nats (a point mass among reals).
      fast_under_xla: True where draws do not slow down a program that XLA compiles for a CPU.
      kl_regularizer: the `KLDivergenceRegularizer` given as `activity_regularizer`, or None.
    """

    support: tuple[float, float] | None = None
    is_of_integers: bool = False
    is_random: bool = True
    has_density: bool = True
    fast_under_xla: bool = False
    tells_training = False  # whether `make_distribution` is told if the model trains

    _event_shape, _event_size = Theirs("event_shape"), Theirs("event_size")
    _num_components, _made = Theirs("num_components"), Theirs("made")
    _validate_args, _sample_dtype = Theirs("validate_args"), Theirs("sample_dtype")
    _make_distribution_fn = Theirs("make_distribution")

    def __init__(
        self,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        own_dtype = kwargs.pop("own_dtype", None)
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = full_precision()
        super().__init__(**kwargs)
        self.convert_to_tensor_fn = by_name(convert_to_tensor_fn)
        self.seed_with(seed)
        self.supports_masking = True
        # A chosen dtype is the output's as a tensor too: a cast loses digits of float64.
        floatx = keras.config.floatx()
        chosen = self.compute_dtype != full_precision() if own_dtype is None else own_dtype
        self.has_own_dtype = chosen or floatx in ("float16", "bfloat16")
        self._dtype_as_tensor = wider(full_precision(), floatx)
        if self.has_own_dtype:
            warn_where_lost(self.name, self.compute_dtype)
        self.hold(self.convert_to_tensor_fn)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "activity_regularizer":
            # Some versions of Keras divide an activity regularizer's value by the size of the
            # output's first axis, which may be one of samples. `call` adds the KL term instead.
            kl = value if isinstance(value, KLDivergenceRegularizer) else None
            self.kl_regularizer = kl
            with self._unlocked():  # a layer that is built may get another
                self._regularizer_state = [] if kl is None else kl.state
            value = None if kl is not None else value
        super().__setattr__(name, value)

    def build(self, input_shape: Any) -> None:
        self.settle()
        self.make_state()
        super().build(input_shape)

    @abc.abstractmethod
    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        """Returns the distribution for `inputs`."""

    def default_prior(self, event_shape: Sequence[int]) -> Any:
        """Returns the prior of a `VAE` that is given this posterior and no prior."""
        return unit_normal(event_shape)

    def representative(self, distribution: tfd.Distribution) -> tf.Tensor:
        """Returns the value that stands for the distribution where no draw is wanted: its mean."""
        return distribution.mean()

    def undrawn(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> TensorCoercible:
        """Returns the layer's output, before anything is drawn and without the KL term."""
        if self.tells_training:
            kwargs["training"] = training
        with self.reading():
            distribution = self.make_distribution(inputs, *args, **kwargs)
        if not isinstance(distribution, tfd.Distribution):
            raise InputTypeError(
                f"{self.name}: expected the function to return a tfp.distributions.Distribution.",
                repr(distribution),
            )
        chosen = self.has_own_dtype or getattr(self, "sample_dtype", None) is not None
        dtype = None if chosen else self._dtype_as_tensor
        return TensorCoercible(
            distribution, self._concretize, self.next_seed, dtype, self.gives_draws
        )

    @property
    def gives_draws(self) -> bool:
        """Whether the output, as a tensor, is a draw from the distribution."""
        return is_draw(self.convert_to_tensor_fn) or not self.is_random

    def call(self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        coercible = self.undrawn(inputs, *args, training=training, **kwargs)
        if keras.tree.is_nested(coercible.dtype) and tf.executing_eagerly():
            return coercible  # a joint distribution is no tensor yet
        if coercible.value().shape.rank is None:  # draws once, in the graph of this call
            coercible.know_shapes(*shapes_of(self, (inputs, *args), kwargs))
        if self.kl_regularizer is not None and adds_kl_terms():
            if training:
                self.kl_regularizer.kl_weight.advance()
            self.add_loss(self.kl_regularizer(coercible, mask_of(inputs)))
        return coercible

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        spec = spec_of(self, args, kwargs)
        return DistributionTensor(spec.shape, spec.dtype, self, args, kwargs)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        if not self.built:
            self.build(input_shape)
        return spec_of(self, (keras.KerasTensor(input_shape, self.input_dtype),), {}).shape

    def _clear_losses(self) -> None:
        super()._clear_losses()
        if self.kl_regularizer is not None:
            self.kl_regularizer.kl_weight.begin()

    def _concretize(self, distribution: TensorCoercible) -> Any:
        return concretize(self.convert_to_tensor_fn, distribution)

    @property
    def _convert_to_tensor_fn(self) -> Callable[[Any], Any]:
        """The function, by the name of `tfp.layers`; `convert_to_tensor_fn` may be a name."""
        given = self.convert_to_tensor_fn
        return given if callable(given) else functools.partial(concretize, given)

    @_convert_to_tensor_fn.setter
    def _convert_to_tensor_fn(self, value: ConvertToTensor) -> None:
        self.convert_to_tensor_fn = by_name(value)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.kl_regularizer is not None:
            config["activity_regularizer"] = keras.regularizers.serialize(self.kl_regularizer)
        return config

    @classmethod
    def load(cls, config: Any) -> Any:
        return with_names(super().load(config))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        kl = config.get("activity_regularizer")
        loaded = {"activity_regularizer": cls.load(kl)} if isinstance(kl, dict) else {}
        return super().from_config({**config, **loaded})
