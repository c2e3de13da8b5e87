"""A trained VAE as a SavedModel that TensorFlow alone can serve."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def export_endpoints(vae: Any, filepath: Any, verbose: bool = False) -> None:
    """Writes a SavedModel with named endpoints; the batch size is free.

    - `serve(x)`: the reconstruction, `E[x|z]` at `z = E[z|x]`.
    - `encode(x)`: a dict with `mean` and `stddev` of q(z|x).
    - `decode(z)`: the mean of p(x|z).
    - `sample(num_samples)`: means of p(x|z) at z drawn from the prior; num_samples an int32 scalar.
    - `log_likelihood(x, num_samples)`: importance-weighted log p(x) in nats for each example.

    A process loads it with `tf.saved_model.load(path)` and needs neither this package nor TFP.

    Args:
      vae: the model.
      filepath: the folder to write.
      verbose: Keras prints the endpoints.
    """
    x = _spec(vae.encoder, "x")
    z = _spec(vae.decoder, "z")
    count = tf.TensorSpec([], tf.int32, name="num_samples")

    def encode(x: tf.Tensor) -> dict[str, tf.Tensor]:
        posterior = vae.encode(x)
        return {"mean": posterior.mean(), "stddev": posterior.stddev()}

    archive = keras.export.ExportArchive()
    archive.track(vae)
    archive.add_endpoint("serve", lambda x: vae.reconstruct(x), [x])
    archive.add_endpoint("encode", encode, [x])
    archive.add_endpoint("decode", lambda z: vae.decode(z).mean(), [z])
    archive.add_endpoint("sample", lambda num_samples: vae.sample(num_samples), [count])
    archive.add_endpoint(
        "log_likelihood",
        lambda x, num_samples: vae.log_likelihood_batch(x, num_samples),
        [x, count],
    )
    archive.write_out(str(filepath), verbose=verbose)


def _spec(network: keras.Model, name: str) -> tf.TensorSpec:
    tensor = network.inputs[0]
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=name)
