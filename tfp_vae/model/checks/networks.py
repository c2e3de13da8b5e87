"""Checks of networks, before any work: one clear error, of what was expected and what was given."""

from __future__ import annotations

from typing import Any

import keras
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError
from tfp_vae.layers.base.distribution_layer import DistributionLayer
from tfp_vae.layers.kl_divergence import KLDivergenceAddLoss
from tfp_vae.wiring import Ports

_RESCALING = (
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
    keras.layers.Lambda,
)


def final_operation(network: keras.Model, role: str, output: Any = None) -> Any:
    """Returns the layer that makes what a functional or Sequential network puts out.

    `output`: which of several outputs; None: the first.

    Raises:
      InputError: the network has not been given its input, or ends in a layer of Keras' own, which
        puts out a tensor and not a distribution.
    """
    is_a_network(network, role)
    output = network.outputs[0] if output is None else output
    operation = output._keras_history.operation
    if getattr(operation, "outputs", None) and isinstance(operation, keras.Model):
        return final_operation(operation, role)
    while isinstance(operation, KLDivergenceAddLoss):  # puts out the distribution that it is given
        operation = operation.input._keras_history.operation
    if type(operation).__module__.startswith("keras."):
        raise InputError(
            f"The {role} is expected to end in a distribution layer, such as tfp_vae.layers."
            f"{'IndependentNormal' if role == 'encoder' else 'IndependentBernoulli'}.",
            f"a last layer {operation.name} ({type(operation).__name__})",
        )
    return operation


def kl_regularizers(network: keras.Model) -> list[tuple[keras.layers.Layer, Any]]:
    """Returns the layers of the network that add a KL term, each with its regularizer."""
    found = []
    for layer in network._flatten_layers():
        if isinstance(layer, KLDivergenceAddLoss):
            found.append((layer, layer.regularizer))
        elif isinstance(layer, DistributionLayer) and layer.kl_regularizer is not None:
            found.append((layer, layer.kl_regularizer))
    return found


def is_a_network(given: Any, role: str) -> None:
    """Raises `InputError` unless it is a functional or Sequential model with inputs."""
    if not isinstance(given, keras.Model) or not getattr(given, "outputs", None):
        raise InputError(
            f"The {role} is expected to be a functional or Sequential keras.Model that starts with "
            "keras.Input(shape) (wrap another kind: keras.Model(x, network(x))).",
            given,
        )


def features_are_named(features: Any) -> None:
    """Raises `InputError` unless they are a network that puts out a dict, or None."""
    if features is None:
        return
    is_a_network(features, "features")
    if not isinstance(getattr(features, "_outputs_struct", None), dict):
        raise InputError(
            "Expected the features to be a network that puts out a dict of tensors by name.",
            features,
        )


def no_kl_term(regularizers: list[Any]) -> None:
    """Raises `InputError` where the encoder has a KL against another prior than the one given."""
    if regularizers:
        raise InputError(
            "The prior is expected in one place: VAE(prior=network), and an encoder without a "
            "KLDivergenceRegularizer.",
            regularizers[0].distribution_b,
        )


def no_kl_weight(posterior: keras.Model, name: str) -> None:
    """Raises `InputError` where a posterior carries a KL term with a weight of its own."""
    for _, regularizer in kl_regularizers(posterior):
        if regularizer.weight is not None:
            raise InputError(
                f"Expected the weight of the KL of {name} in the objective, "
                "ELBO(beta={...}), and a KLDivergenceRegularizer without one.",
                regularizer.weight,
            )


def latent_sizes_match(encoder: keras.Model, decoder: Ports) -> None:
    """Raises `InputError` unless the decoder takes what the encoder puts out."""
    out, into = encoder.output_shape[1:], decoder.main.shape[1:]
    if any(a is not None and b is not None and a != b for a, b in zip(out, into, strict=False)) or (
        len(out) != len(into)
    ):
        raise InputError(
            f"The decoder is expected to take what the encoder puts out: latent shape {out}.",
            f"a decoder that takes {into}",
        )


def gradients_go_through(posterior: tfd.Distribution, layer: Any, samples: int) -> None:
    """Raises `InputError` where a draw from the posterior carries no gradient to the encoder.

    A `convert_to_tensor_fn` of the user's own, such as a straight-through draw, may carry a
    gradient; the function makes one draw, and is not asked for several.
    """
    drawn = samples > 1 or getattr(layer, "convert_to_tensor_fn", "sample") == "sample"
    if drawn and posterior.reparameterization_type != tfd.FULLY_REPARAMETERIZED:
        raise InputError(
            "The encoder is expected to end in a distribution whose draws are reparameterized, "
            "such as IndependentNormal: no gradient goes through z otherwise.",
            f"{layer.name}, which makes a {posterior.name}",
        )


def refuse_point_mass(layer: Any, objective: str) -> None:
    """Raises `InputError`: z is no draw from a density, and the objective is a bound by such draws.

    With z = E[z|x] the negative ELBO would lie below -log p(x), with any such z it is no bound.
    """
    if getattr(layer, "has_density", True):
        raise InputError(
            f"{objective} needs z drawn from q(z|x): expected convert_to_tensor_fn='sample' in the "
            "encoder's last layer (encode(x).mean() gives the mean of a trained model), or an "
            "objective without the KL, such as objectives.RegularizedAE, or MMD at beta=0.",
            f"{type(layer).__name__}(convert_to_tensor_fn={layer.convert_to_tensor_fn!r})",
        )
    raise InputError(
        f"{objective} needs log q(z|x), which a point mass has not: expected a posterior with a "
        "density, or an objective without, such as objectives.RegularizedAE, or objectives.MMD at "
        "beta=0.",
        f"an encoder that ends in {type(layer).__name__}",
    )


def rescales(network: keras.Model | None) -> bool:
    """Tells whether a network may bring its input to another scale before anything else sees it.

    Keras' layers of weights and of shapes do not; `x / 255`, a layer of the user's own may.
    """
    layers = [] if network is None else network._flatten_layers()
    models = [layer for layer in layers if isinstance(layer, keras.Model)]
    parts = [part for model in models for part in getattr(model, "operations", model.layers)]
    return any(isinstance(p, _RESCALING) or not isinstance(p, keras.layers.Layer) for p in parts)
