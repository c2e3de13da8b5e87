"""How the codes of a model are used, over rows of data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_vae.distributions.codes import perplexity


def usage_of_codes(model: Any, batches: Iterable[Any]) -> dict[str, np.ndarray]:
    """Returns how often each code occurs in all batches together, by latent variable of codes.

    Args:
      model: a `VAE` or `LatentModel`.
      batches: data as the model takes them.

    Returns:
      Arrays `[depth, num_codes]`, a row for each level of a residual quantization, else one row.

    Example:
      >>> import keras
      >>> from tfp_vae import VAE, layers
      >>> encoder = keras.Sequential([keras.Input((2,)), layers.LookupFreeQuantized((2, 1))])
      >>> decoder = keras.Sequential([keras.Input((2, 1)), keras.layers.Flatten(),
      ...                             layers.IndependentNormal(1)])
      >>> usage_of_codes(VAE(encoder, decoder), [np.array([[1., -1.], [1., 1.]])])["z"].tolist()
      [[1.0, 3.0]]
    """
    coded = [n for n, layer in model.posterior_layers.items() if hasattr(layer, "code_space")]
    found: dict[str, Any] = {}
    for batch in batches if coded else ():
        forward = model.forward(batch)
        for name in coded:
            count = forward[name].q.usage().numpy().astype(np.float64)
            found[name] = found.get(name, 0.0) + count
    return found


def use_of_codes(model: Any, batches: Iterable[Any]) -> dict[str, float]:
    """Returns what `usage_of_codes` comes to, as numbers by name.

    `codes_used`, the number of codes that occur (of several levels their mean), `num_codes`, how
    many there are, and `perplexity`, the exponential of the entropy of the shares in nats, 1 to
    num_codes. With several latent variables the names end in that of the variable. Nothing of a
    model without codes.
    """
    found: dict[str, float] = {}
    for name, count in usage_of_codes(model, batches).items():
        after = f"_{name}" if len(model.posterior_layers) > 1 else ""
        found[f"codes_used{after}"] = float((count > 0).sum(axis=1).mean())
        found[f"num_codes{after}"] = int(count.shape[1])
        found[f"perplexity{after}"] = float(perplexity(tf.constant(count)))
    return found
