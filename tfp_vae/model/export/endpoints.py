"""A model of several variables as a SavedModel, whose endpoints answer by the variables' names."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.model import importance
from tfp_vae.model.ancestral import standing_in
from tfp_vae.model.export.saved_model import Seeds, free_folder, spec_of, stddev, write
from tfp_vae.model.generation import generate


def export_by_name(model: Any, filepath: Any, verbose: bool = False) -> None:
    """Writes a SavedModel with named endpoints; the batch size, and a sequence's length, are free.

    - `serve(data)`: the reconstruction, the mean of each observed variable by name.
    - `encode(data)`: by the name of each latent variable the value that stands for it, and
      `<name>_mean` and `<name>_stddev` of q where there are closed forms.
    - `decode(latents, other data)`: the mean of each observed variable by name.
    - `sample(num_samples)`: all variables by name, the observed ones' means; num_samples is an
      int32 scalar. A model whose priors take data takes these instead, and a model of sequences
      takes `length` too.
    - `log_likelihood(data, num_samples)`: importance-weighted log p(x) in nats for each example;
      not of a model without a density.

    Endpoints take these in their order, and as `signatures` by name. A process loads the model with
    `tf.saved_model.load(path)` and needs neither this package nor TFP.

    Args:
      model: a `LatentModel`.
      filepath: the folder to write.
      verbose: Keras prints the endpoints.

    Raises:
      InputError: the folder holds something else than a SavedModel.
    """
    free_folder(filepath)
    graph, wiring = model.graph, model.wiring
    data = [spec_of(tensor, name) for name, tensor in wiring.ports.items()]
    names = list(wiring.ports)
    count = tf.TensorSpec([], tf.int32, name="num_samples")
    latents = [spec_of(tensor, name) for name, tensor in wiring.optional.items()]
    generative = [*graph.priors.values(), *graph.likelihoods.values()]
    taken = {name for one in generative for name in one.inputs}
    if graph.features is not None and taken & set(graph.features.network._outputs_struct):
        taken |= {tensor.name for tensor in graph.features.tensors}
    not_drawn = [name for name in names if name not in wiring.observed]
    decoded_from = [name for name in names if name in taken]
    others = [spec_of(wiring.ports[name], name) for name in not_drawn]
    beside = [spec_of(wiring.ports[name], name) for name in decoded_from]

    archive = keras.export.ExportArchive()
    archive.track(model)
    seed = Seeds(archive, model)

    def encoded(values: Any) -> Any:
        return graph.begin(dict(zip(names, values, strict=True)), training=False, undrawn=True)

    def serve(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        forward = graph.forward(encoded(values), training=False, choose=standing_in(graph))
        return {name: term.p.mean() for name, term in forward.observed.items()}

    def encode(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        terms, _ = graph.encode(encoded(values), standing_in(graph))
        found = {}
        for name, term in terms.items():
            found[name] = term.value[0]
            for what, moment in {"mean": tfd.Distribution.mean, "stddev": stddev}.items():
                with contextlib.suppress(NotImplementedError):  # no closed form
                    found[f"{name}_{what}"] = moment(term.q)
        return found

    def decode(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        z = dict(zip(wiring.optional, values[: len(latents)], strict=True))
        given = dict(zip(decoded_from, values[len(latents) :], strict=True))
        return {name: p.mean() for name, p in graph.decode(z, given).items()}

    of_steps = any(one.of_steps for one in [*graph.posteriors.values(), *generative])
    length = [tf.TensorSpec([], tf.int32, name="length")] if of_steps else []

    def sample(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        given = dict(zip(not_drawn, values, strict=False))
        number = tf.shape(values[0])[0] if not_drawn else values[0]
        steps = values[-1] if of_steps else None
        return generate(graph, number, seed(), given, True, steps)

    def log_likelihood(*values: tf.Tensor) -> tf.Tensor:
        message = "Expected num_samples >= 1."
        with tf.control_dependencies([tf.debugging.assert_positive(values[-1], message)]):
            number = tf.identity(values[-1])
        given = dict(zip(names, values[:-1], strict=True))
        return importance.estimate_batch(graph, (given, {}), number, seed())

    archive.add_endpoint("serve", serve, data)
    archive.add_endpoint("encode", encode, data)
    archive.add_endpoint("decode", decode, [*latents, *beside])
    archive.add_endpoint("sample", sample, [*(others or [count]), *length])
    if model.has_density:
        archive.add_endpoint("log_likelihood", log_likelihood, [*data, count])
    write(archive, Path(filepath), verbose)
