"""The networks and losses of `jax_scan`: plain functions of their parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from benchmarks.work import Work

Parameters = Any
Network = Callable[[Parameters, Array], Array]
Loss = Callable[[Parameters, Array, Array], Array]  # of parameters, images and a key

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_UPWARDS = ((1, "SAME"), (2, "SAME"), (1, "SAME"), (2, "SAME"), (1, "VALID"))  # stride, padding
_DOWNWARDS = ((1, "VALID"), (1, "SAME"), (2, "SAME"), (1, "SAME"), (2, "SAME"), (1, "SAME"))


def perceptrons(
    work: Work, activation: Callable[[Array], Array] = jax.nn.relu
) -> tuple[Parameters, Network, Network]:
    """Parameters; an encoder, to means and log variances; a decoder, to logits."""
    up = [work.pixels, *work.widths, 2 * work.latent_size]
    down = [work.latent_size, *reversed(work.widths), work.pixels]
    keys = jax.random.split(jax.random.key(0), 2)
    parameters = {
        name: _initial(key, list(itertools.pairwise(sizes)))
        for name, key, sizes in zip(("encoder", "decoder"), keys, (up, down), strict=True)
    }

    def dense(layers: Parameters, x: Array) -> Array:
        *hidden, (w, b) = layers
        for weights, bias in hidden:
            x = activation(x @ weights + bias)
        return x @ w + b

    return (
        parameters,
        lambda p, x: dense(p["encoder"], x),
        lambda p, z: dense(p["decoder"], z),
    )


def convolutional(latent_size: int) -> tuple[Parameters, Network, Network]:
    """The same of TFP's tutorial."""
    up = [(5, 5, 1, 32), (5, 5, 32, 32), (5, 5, 32, 64), (5, 5, 64, 64), (7, 7, 64, 64)]
    down = [(7, 7, latent_size, 64), (5, 5, 64, 64), (5, 5, 64, 64), (5, 5, 64, 32)]
    down += [(5, 5, 32, 32), (5, 5, 32, 32), (5, 5, 32, 1)]
    keys = jax.random.split(jax.random.key(0), 2)
    parameters = {
        "encoder": _initial(keys[0], [*up, (64, latent_size * (latent_size + 3) // 2)]),
        "decoder": _initial(keys[1], down),
    }

    def encoder(p: Parameters, x: Array) -> Array:
        *convolutions, (w, b) = p["encoder"]
        x = x - 0.5
        for (kernel, bias), (stride, padding) in zip(convolutions, _UPWARDS, strict=True):
            x = lax.conv_general_dilated(
                x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT
            )
            x = jax.nn.leaky_relu(x + bias, 0.2)
        return x.reshape(len(x), -1) @ w + b

    def decoder(p: Parameters, z: Array) -> Array:
        *transposed, (w, b) = p["decoder"]
        x = z[:, None, None]
        for (kernel, bias), (stride, padding) in zip(transposed, _DOWNWARDS, strict=True):
            x = lax.conv_transpose(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)
            x = jax.nn.leaky_relu(x + bias, 0.2)
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=_LAYOUT) + b

    return parameters, encoder, decoder


def negative_elbo(encoder: Network, decoder: Network) -> Loss:
    """From one sample, a mean over the images; diagonal posterior."""

    def loss(p: Parameters, x: Array, key: Array) -> Array:
        mean, log_variance = jnp.split(encoder(p, x), 2, -1)
        z = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        kl = (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum() / 2
        return (negative_log(decoder(p, z), x).sum() + kl) / len(x)

    return loss


def negative_elbo_tril(encoder: Network, decoder: Network, latent_size: int) -> Loss:
    """The same with a full covariance."""
    below = jnp.tril_indices(latent_size, -1)

    def loss(p: Parameters, x: Array, key: Array) -> Array:
        mean, diagonal, rest = jnp.split(encoder(p, x), [latent_size, 2 * latent_size], -1)
        diagonal = jax.nn.softplus(diagonal) + 1e-5
        scale = jax.vmap(jnp.diag)(diagonal).at[(slice(None), *below)].set(rest)
        z = mean + jnp.einsum("bij,bj->bi", scale, jax.random.normal(key, mean.shape))
        kl = ((mean**2).sum() + (scale**2).sum() - mean.size) / 2 - jnp.log(diagonal).sum()
        return (negative_log(decoder(p, z), x).sum() + kl) / len(x)

    return loss


def log_weights(decoder: Network, num_samples: int) -> Callable[..., Array]:
    """Of each of the samples: log p(x, z) - log q(z|x), `[num_samples, ...]`."""

    def weights(p: Parameters, x: Array, mean: Array, log_variance: Array, key: Array) -> Array:
        noise = jax.random.normal(key, (num_samples, *mean.shape))
        z = mean + jnp.exp(log_variance / 2) * noise
        log_ratio = (noise**2 + log_variance - z**2).sum(-1) / 2
        return log_ratio - negative_log(decoder(p, z), x).sum(-1)

    return weights


def negative_bound(encoder: Network, decoder: Network, num_samples: int) -> Loss:
    """The importance-weighted one, a mean over the images."""
    weights = log_weights(decoder, num_samples)

    def loss(p: Parameters, x: Array, key: Array) -> Array:
        log_weight = weights(p, x, *jnp.split(encoder(p, x), 2, -1), key)
        return math.log(num_samples) - jax.nn.logsumexp(log_weight, 0).mean()

    return loss


def negative_log(logits: Array, x: Array) -> Array:
    """-log p(x) of each pixel."""
    return jax.nn.softplus(logits) - x * logits


def _initial(key: Array, shapes: list[tuple[int, ...]]) -> Parameters:
    glorot = jax.nn.initializers.glorot_uniform()
    keys = jax.random.split(key, len(shapes))
    return [(glorot(k, shape), jnp.zeros(shape[-1])) for k, shape in zip(keys, shapes, strict=True)]
