"""A trained VAE as a SavedModel that TensorFlow alone can serve."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError
from tfp_vae.model import importance
from tfp_vae_cli.folders import NEW, check_free
from tfp_vae_cli.refusal import Refusal


def export_endpoints(vae: Any, filepath: Any, verbose: bool = False) -> None:
    """Writes a SavedModel with named endpoints; the batch size is free.

    - `serve(x)`: the reconstruction, `E[x|z]` at `z = E[z|x]`.
    - `encode(x)`: a dict with `mean` and `stddev` of q(z|x), and `z`, the value that stands for it;
      without the former where q has none in closed form.
    - `decode(z)`: the mean of p(x|z).
    - `sample(num_samples)`: means of p(x|z) at z drawn from the prior; num_samples an int32 scalar.
      Of sequences it takes their `length` too.
    - `log_likelihood(x, num_samples)`: importance-weighted log p(x) in nats for each example; not
      of a model without a density.

    A conditional model's endpoints take the conditions after x or z; `sample` takes them instead of
    the number, and gives one x for each row. A process loads it with `tf.saved_model.load(path)`
    and needs neither this package nor TFP.

    Args:
      vae: the model.
      filepath: the folder to write.
      verbose: Keras prints the endpoints.

    Raises:
      InputError: the folder holds something else than a SavedModel.
    """
    free_folder(filepath)
    wiring = vae.wiring
    x = spec_of(wiring.encoder.main, "x")
    z = spec_of(wiring.decoder.main, "z")
    count = tf.TensorSpec([], tf.int32, name="num_samples")
    both = [spec_of(tensor, name) for name, tensor in wiring.conditions.items()]
    names = wiring.given_names
    own = [spec_of(wiring.conditions[name], name) for name in names]
    drawn = [spec_of(wiring.conditions[name], name) for name in wiring.drawn_given]

    of_steps = vae.graph.posteriors["z"].of_steps
    length = [tf.TensorSpec([], tf.int32, name="length")] if of_steps else []

    def data(x: tf.Tensor, given: Any) -> Any:
        return [x, *given] if given else x

    def encode(x: tf.Tensor, *given: tf.Tensor) -> dict[str, tf.Tensor]:
        posterior = vae.encode(data(x, given))
        moments = {"z": vae.representative(posterior)}
        for name, moment in {"mean": tfd.Distribution.mean, "stddev": stddev}.items():
            with contextlib.suppress(NotImplementedError):  # no closed form
                moments[name] = moment(posterior)
        return moments

    archive = keras.export.ExportArchive()
    archive.track(vae)
    seed = Seeds(archive, vae)

    def sample(*given: tf.Tensor) -> tf.Tensor:
        length = given[-1] if of_steps else None
        if not drawn:
            return vae._draw(given[0], seed(), {}, True, length)
        conditions = wiring.given(list(given[: len(drawn)]), draws=True)
        return vae._draw(tf.shape(given[0])[0], seed(), conditions, True, length)

    def log_likelihood(x: tf.Tensor, *rest: tf.Tensor) -> tf.Tensor:
        message = "Expected num_samples >= 1."
        with tf.control_dependencies([tf.debugging.assert_positive(rest[-1], message)]):
            number = tf.identity(rest[-1])
        conditions = dict(zip(wiring.conditions, rest[:-1], strict=True))
        return importance.estimate_batch(vae.graph, ({"x": x, **conditions}, {}), number, seed())

    archive.add_endpoint("serve", lambda x, *given: vae.reconstruct(data(x, given)), [x, *both])
    archive.add_endpoint("encode", encode, [x, *both])
    archive.add_endpoint("decode", lambda z, *given: vae.decode(z, list(given)).mean(), [z, *own])
    archive.add_endpoint("sample", sample, [*(drawn or [count]), *length])
    if vae.has_density:
        archive.add_endpoint("log_likelihood", log_likelihood, [x, *both, count])
    write(archive, Path(filepath), verbose)


def write(archive: Any, folder: Path, verbose: bool) -> None:
    """Writes within the folder, then moves all in place: a failure leaves what was there."""
    is_new, new = not folder.exists(), folder / NEW
    try:
        shutil.rmtree(new, ignore_errors=True)
        archive.write_out(str(new), verbose=verbose)
        for part in sorted(new.iterdir(), key=lambda part: part.name == "saved_model.pb"):
            if part.is_dir():
                shutil.rmtree(folder / part.name, ignore_errors=True)
            os.replace(part, folder / part.name)
        new.rmdir()
    except BaseException:
        shutil.rmtree(folder if is_new else new, ignore_errors=True)
        raise


def free_folder(filepath: Any) -> None:
    """Raises `InputError` where the folder holds something else than a SavedModel."""
    try:
        check_free(filepath)
    except Refusal as error:
        raise InputError(str(error)) from None


def endpoints(vae: Any) -> list[str]:
    """The names of the endpoints of a model."""
    always = ["serve", "encode", "decode", "sample"]
    return [*always, "log_likelihood"] if vae.has_density else always


class Seeds:
    """Seeds for the calls of an archive's endpoints, a new one for each call.

    Servers call from several threads: one operation, that XLA has too, reads the state and moves it
    on, by 256.

    Args:
      archive: the `keras.export.ExportArchive`, which holds the state.
      model: the model whose seeds they go on from.
    """

    def __init__(self, archive: Any, model: Any) -> None:
        self.start = tf.cast(keras.ops.convert_to_numpy(model.seed_generator.state), tf.int32)
        self.calls = tf.random.Generator.from_state(tf.zeros([3], tf.int64), alg="philox")
        archive.track(self.calls)

    def __call__(self) -> tf.Tensor:
        state = self.calls.skip(1)
        return self.start + tf.stack([0, tf.cast(state[0] // 256, tf.int32)])


def stddev(distribution: Any) -> tf.Tensor:
    """The standard deviation, by operations that other runtimes have too."""
    given = getattr(distribution, "tensor_distribution", distribution)
    size = given.event_shape[-1] if given.event_shape.rank else None
    scale = given.parameters.get("scale_tril")
    if size is None or scale is None or type(given) is not tfd.MultivariateNormalTriL:
        return distribution.stddev()
    lower = tf.constant(np.tril(np.ones([size, size])), scale.dtype)
    return tf.sqrt(tf.reduce_sum(tf.square(scale * lower), axis=-1))


def spec_of(tensor: keras.KerasTensor, name: str) -> tf.TensorSpec:
    """The signature of an input of a network."""
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=name)
