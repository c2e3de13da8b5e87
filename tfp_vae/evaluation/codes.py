"""How many codes are in use, over rows of data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_vae.distributions.codes import perplexity


def use_of_codes(model: Any, batches: Iterable[Any]) -> dict[str, float]:
    """Returns how the codes of each latent variable of codes are used over all batches together.

    Args:
      model: a `VAE` or `LatentModel`.
      batches: data as the model takes them.

    Returns:
      `codes_used`, the number of codes that occur (of several levels their mean), `num_codes`, how
      many there are, and `perplexity`, the exponential of the entropy of their shares in nats: 1 to
      num_codes. With several latent variables of these the names end in that of the variable.
      Nothing where there are no codes.

    Example:
      >>> import keras
      >>> from tfp_vae import VAE, layers
      >>> encoder = keras.Sequential([keras.Input((2,)), layers.LookupFreeQuantized((2, 1))])
      >>> decoder = keras.Sequential([keras.Input((2, 1)), keras.layers.Flatten(),
      ...                             layers.IndependentNormal(1)])
      >>> use_of_codes(VAE(encoder, decoder), [np.array([[1., -1.]])])
      {'codes_used': 2.0, 'num_codes': 2, 'perplexity': 2.0}
    """
    layers = model.posterior_layers
    coded = [name for name, layer in layers.items() if hasattr(layer, "code_space")]
    if not coded:
        return {}
    count: dict[str, Any] = dict.fromkeys(coded, 0.0)
    for batch in batches:
        forward = model.forward(batch)
        for name in coded:
            count[name] = count[name] + forward[name].q.usage().numpy().astype(np.float64)
    found: dict[str, float] = {}
    for name in coded:
        after = f"_{name}" if len(layers) > 1 else ""
        found[f"codes_used{after}"] = float((count[name] > 0).sum(axis=1).mean())
        found[f"num_codes{after}"] = int(count[name].shape[1])
        found[f"perplexity{after}"] = float(perplexity(tf.constant(count[name])))
    return found
