"""An encoder without the KL term that it carries, for a model whose prior is another."""

from __future__ import annotations

from typing import Any

import keras

from tfp_vae.layers.kl_divergence import KLDivergenceAddLoss
from tfp_vae.model.checks import networks


def unregularized(network: keras.Model) -> keras.Model:
    """Returns the network with the same layers, shared, but for those that add a KL term.

    A distribution layer with a `KLDivergenceRegularizer` is made again without it, with the same
    weights; a `KLDivergenceAddLoss` is left out. A network without any is returned as it is.

    Example:
      >>> from tfp_vae import networks
      >>> encoder = networks.encoder((8,), posterior=2)
      >>> shared = unregularized(encoder)
      >>> shared.layers[1] is encoder.layers[1], len(shared.losses), shared.output_shape
      (True, 0, (None, 2))
    """
    if not networks.kl_regularizers(network):
        return network
    if isinstance(network, keras.Sequential):
        start = keras.Input(batch_shape=network.input_shape, dtype=network.inputs[0].dtype)
        kept = [layer for layer in network.layers if not isinstance(layer, KLDivergenceAddLoss)]
        return keras.Sequential([start, *map(_renewed, kept)], name=network.name)
    return keras.models.clone_model(network, clone_function=_renewed, call_function=_called)


def _renewed(layer: Any) -> Any:
    if isinstance(layer, keras.Model):
        return unregularized(layer)
    if getattr(layer, "kl_regularizer", None) is None:
        return layer
    again = type(layer).from_config({**layer.get_config(), "activity_regularizer": None})
    if layer.built:
        again.build_from_config(layer.get_build_config())
    of_kl = {id(weight) for state in layer.kl_regularizer.state for weight in state.weights}
    again.set_weights([weight.numpy() for weight in layer.weights if id(weight) not in of_kl])
    again.seed_generator.state.assign(layer.seed_generator.state)
    return again


def _called(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return args[0] if isinstance(layer, KLDivergenceAddLoss) else layer(*args, **kwargs)
