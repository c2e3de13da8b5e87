"""Mixtures of distributions of one family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import ParametricLayer, as_shape
from tfp_vae.layers.location_scale import IndependentLogistic, IndependentNormal, LocationScaleLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class MixtureSameFamily(ParametricLayer):
    """`sum_k w_k f_k(x)`: k logits of the weights w, then the parameters of each component.

    Shapes: input `[..., k (1 + size)]`, where `size` is the component layer's `params_size`; batch
    `[...]`, event that of the component; as a tensor a draw, which has a gradient only where TFP's
    mixture is reparameterized.

    Args:
      num_components: k.
      component_layer: a distribution layer, or another function from `[..., k, size]` to a
        distribution of batch `[..., k]`.

    Source: Bishop, "Mixture Density Networks" (1994).

    Example:
      >>> from tfp_vae.layers import IndependentNormal
      >>> size = MixtureSameFamily.params_size(3, IndependentNormal.params_size(2))
      >>> p = MixtureSameFamily(3, IndependentNormal(2))(tf.zeros([1, size]))
      >>> p.event_shape.as_list(), p.mean().numpy().tolist()
      ([2], [[0.0, 0.0]])
    """

    def __init__(
        self,
        num_components: int,
        component_layer: Callable[[Any], tfd.Distribution],
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(convert_to_tensor_fn, seed, **kwargs)
        self.num_components = int(num_components)
        self.component_layer = component_layer
        self.validate_args = validate_args
        self.hold(component_layer, self.convert_to_tensor_fn)

    @staticmethod
    def new(
        params: Any,
        num_components: int,
        component_layer: Callable[[Any], tfd.Distribution],
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.MixtureSameFamily:
        """Returns the mixture of a parameter tensor `[..., num_components * (1 + size)]`."""
        with tf.name_scope(name or "MixtureSameFamily"):
            params = tf.convert_to_tensor(params)
            own = params[..., num_components:]
            shape = tf.concat([tf.shape(params)[:-1], [num_components, -1]], axis=0)
            size = None if own.shape[-1] is None else own.shape[-1] // num_components
            own = tf.ensure_shape(
                tf.reshape(own, shape), [*params.shape[:-1], num_components, size]
            )
            if isinstance(component_layer, ParametricLayer):
                components = component_layer.make_distribution(own)
            else:
                components = component_layer(own)
            return tfd.MixtureSameFamily(
                tfd.Categorical(logits=params[..., :num_components]),
                getattr(components, "tensor_distribution", components),
                validate_args=validate_args,
            )

    @staticmethod
    def params_size(
        num_components: int, component_params_size: int, name: str | None = None
    ) -> int:
        return int(num_components) * (1 + int(component_params_size))

    @property
    def num_parameters(self) -> int:
        return self.params_size(self.num_components, self.component_layer.num_parameters)  # type: ignore[attr-defined]

    def build(self, input_shape: Any) -> None:
        if hasattr(self.component_layer, "num_parameters"):
            super().build(input_shape)
        else:
            self.settle()
            self.make_state()


class MixtureOfIndependent(ParametricLayer):
    """A mixture whose components are independent over `event_shape`; a subclass names them.

    Shapes: input `[..., k (1 + 2 n)]`, n = prod(event_shape): k logits of the weights, then for
    each component its n locations and n scales before their softplus; batch `[...]`, event
    `event_shape`; as a tensor a draw, which has no gradient.

    Args:
      num_components: k.
    """

    component: ClassVar[type[LocationScaleLayer]]

    def __init__(
        self,
        num_components: int,
        event_shape: int | Sequence[int] = (),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(convert_to_tensor_fn, seed, **kwargs)
        self.num_components = int(num_components)
        self.event_shape = as_shape(event_shape)
        self.validate_args = validate_args

    @classmethod
    def new(
        cls,
        params: Any,
        num_components: int,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.MixtureSameFamily:
        """Returns the mixture of a tensor `[..., params_size(num_components, event_shape)]`."""
        return MixtureSameFamily.new(
            params,
            num_components,
            lambda own: cls.component.new(own, event_shape, validate_args),
            validate_args,
            name or cls.__name__,
        )

    @classmethod
    def params_size(
        cls, num_components: int, event_shape: int | Sequence[int] = (), name: str | None = None
    ) -> int:
        """Returns the number of weights, locations and scales."""
        own = cls.component.params_size(event_shape)
        return MixtureSameFamily.params_size(num_components, own, name)


@keras.saving.register_keras_serializable(package="tfp_vae")
class MixtureNormal(MixtureOfIndependent):
    """`sum_k w_k prod_i N(x_i; loc_ki, scale_ki^2)`: a mixture density network's last layer.

    Source: Bishop, "Mixture Density Networks" (1994).

    Example:
      >>> p = MixtureNormal(5, 2)(tf.zeros([1, MixtureNormal.params_size(5, 2)]))
      >>> p.mean().numpy().tolist()
      [[0.0, 0.0]]
    """

    component = IndependentNormal


@keras.saving.register_keras_serializable(package="tfp_vae")
class MixtureLogistic(MixtureOfIndependent):
    """`sum_k w_k prod_i Logistic(x_i; loc_ki, scale_ki)`: a mixture with heavier tails.

    Source: Salimans et al., arXiv:1701.05517.

    Example:
      >>> p = MixtureLogistic(5, 2)(tf.zeros([1, MixtureLogistic.params_size(5, 2)]))
      >>> p.mean().numpy().tolist()
      [[0.0, 0.0]]
    """

    component = IndependentLogistic
