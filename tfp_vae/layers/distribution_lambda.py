"""Any distribution, made by a function of the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.signatures import has_parameter
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.distribution_layer import DistributionLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class DistributionLambda(DistributionLayer):
    """Makes any TFP distribution from its input: `layer(x)` is `make_distribution_fn(x)`.

    The output is a `tfd.Distribution` (`.mean()`, `.log_prob(y)`, ...) that Keras takes as the
    tensor `convert_to_tensor_fn` gives. The function's inputs and the shapes are yours.

    Args:
      make_distribution_fn: takes the layer's inputs, and `training` if it has an argument of that
        name; returns a `tfd.Distribution`. The variables and Keras layers that the function closes
        over, or reads as globals, are trained and saved with this layer. To save the model,
        register the function with `keras.saving.register_keras_serializable`. Keras loads a lambda
        only with `safe_mode=False`, and unusual names in the lambda by `custom_objects`.
      convert_to_tensor_fn: the tensor that the distribution stands for: the name of a method or
        property ("sample", "mean", "mode", "stddev", "logits", ...), a method or property of a TFP
        class (`tfd.Distribution.mean`, `tfd.Bernoulli.logits`), or a function of the distribution.
        Several, such as `("mean", "stddev")`, are stacked on a new last axis.
      seed: an integer makes the layer's draws repeatable; None takes one from Keras' global seed
        (`keras.utils.set_random_seed`).

    Raises:
      TypeError: the function returns no distribution.

    Source: `tfp.layers.DistributionLambda`; Dillon et al., arXiv:1711.10604.

    Example:
      >>> layer = DistributionLambda(lambda t: tfd.Normal(t, 1.), "mean")
      >>> d = layer(tf.constant([3.]))
      >>> float(d.log_prob(3.)[0]), (d + 1.).numpy().tolist()
      (-0.9189385175704956, [4.0])
    """

    def __init__(
        self,
        make_distribution_fn: Callable[..., tfd.Distribution],
        convert_to_tensor_fn: ConvertToTensor = "sample",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(convert_to_tensor_fn, seed, **kwargs)
        self.make_distribution_fn = make_distribution_fn
        self.tells_training = has_parameter(make_distribution_fn, "training")
        self.hold(make_distribution_fn, self.convert_to_tensor_fn)

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self.make_distribution_fn(inputs, *args, **kwargs)

    def saved_arguments(self) -> list[str]:
        makes = self._makes_its_function
        return [n for n in super().saved_arguments() if not (makes and n == "make_distribution_fn")]

    def config_of(self, name: str) -> Any:
        if name == "make_distribution_fn" and self.leads_back:
            raise InputError(
                f"{self.name}: expected a function that does not lead back to its own layer: such "
                "a function cannot be saved. Subclass DistributionLambda, and give "
                "`super().__init__` a method of the subclass.",
                self.make_distribution_fn,
            )
        return super().config_of(name)

    @property
    def _makes_its_function(self) -> bool:
        """Whether a subclass' constructor makes the function, so that no config needs it."""
        if type(self).__init__ is DistributionLambda.__init__:
            return False
        name = getattr(self.make_distribution_fn, "__qualname__", "")
        return self.leads_back or "__init__.<locals>" in name
