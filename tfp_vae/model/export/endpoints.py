"""The endpoints of a model's SavedModel: what each computes, and of what."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.model import importance
from tfp_vae.model.choosers import standing_in
from tfp_vae.model.export.saved_model import Seeds, free_folder, spec_of, stddev, write
from tfp_vae.model.passes import ForwardModel


def export_endpoints(
    model: ForwardModel, filepath: Any, kind: type[Endpoints], verbose: bool = False
) -> None:
    """Writes a SavedModel with named endpoints; the batch size, and a sequence's length, are free.

    Endpoints take their arguments in order, and as `signatures` by name. A process loads the model
    with `tf.saved_model.load(path)` and needs neither this package nor TFP.

    Args:
      model: the model.
      filepath: the folder to write.
      kind: what the endpoints are.
      verbose: Keras prints the endpoints.

    Raises:
      InputError: the folder holds something else than a SavedModel.
    """
    free_folder(filepath)
    archive = keras.export.ExportArchive()
    archive.track(model)
    made = kind(model, Seeds(archive, model))
    archive.add_endpoint("serve", made.serve, made.data)
    archive.add_endpoint("encode", made.encode, made.data)
    archive.add_endpoint("decode", made.decode, [*made.latents, *made.beside])
    archive.add_endpoint("sample", made.sample, [*(made.drawn or [made.count]), *made.length])
    if model.has_density:
        archive.add_endpoint("log_likelihood", made.log_likelihood, [*made.data, made.count])
    write(archive, Path(filepath), verbose)


class Endpoints:
    """The endpoints of a model of named variables.

    Args:
      model: the model.
      seed: gives a seed for each call.

    Attributes:
      data: the signature of all data.
      latents: that of the latent variables.
      beside: that of the data that `decode` takes.
      drawn: that of the data that `sample` takes.
      count: that of a number of samples.
      length: that of a sequence's length, in a list that is empty without sequences.
    """

    def __init__(self, model: ForwardModel, seed: Seeds) -> None:
        self.graph, self.answers, self.seed = model.graph, model.answers, seed
        self.wiring = wiring = model.wiring
        specs = {name: spec_of(tensor, name) for name, tensor in wiring.ports.items()}
        self.data = list(specs.values())
        self.latents = [spec_of(tensor, name) for name, tensor in wiring.latents.items()]
        self.beside = [specs[name] for name in wiring.given_names]
        self.drawn = [specs[name] for name in wiring.drawn_given]
        self.count = tf.TensorSpec([], tf.int32, name="num_samples")
        of_steps = any(one.of_steps for one in self.graph.conditionals)
        self.length = [tf.TensorSpec([], tf.int32, name="length")] if of_steps else []

    def _named(self, values: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        return dict(zip(self.wiring.ports, values, strict=True))

    def serve(self, *values: tf.Tensor) -> Any:
        """Returns the reconstruction, the mean of each observed variable by name."""
        return self.answers.means(self._named(values))

    def encode(self, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns of each latent variable the value that stands for it, and moments of q.

        These are `<name>_mean` and `<name>_stddev`, where there are closed forms.
        """
        outset = self.graph.infer(self._named(values), with_priors=False)
        terms, _ = self.graph.encode(outset, standing_in(self.graph.posteriors))
        found = {}
        for name, term in terms.items():
            found[name] = term.value[0]
            for what, moment in {"mean": tfd.Distribution.mean, "stddev": stddev}.items():
                with contextlib.suppress(NotImplementedError):  # no closed form
                    found[f"{name}_{what}"] = moment(term.q)
        return found

    def decode(self, *values: tf.Tensor) -> Any:
        """Returns the mean of each observed variable, of latent variables and other data."""
        number = len(self.latents)
        latents = dict(zip(self.wiring.latents, values[:number], strict=True))
        data = dict(zip(self.wiring.given_names, values[number:], strict=True))
        found = self.answers.likelihoods(latents, data)
        return {name: p.mean() for name, p in found.items()}

    def sample(self, *values: tf.Tensor) -> Any:
        """Returns new values of all variables, the observed ones' means.

        Takes the number of samples, or the data that priors and likelihoods take in its place; and
        the length, of a model of sequences.
        """
        given = dict(zip(self.wiring.drawn_given, values, strict=False))
        number = tf.shape(values[0])[0] if given else values[0]
        length = values[-1] if self.length else None
        return self.answers.draw(number, self.seed(), given, True, length)

    def log_likelihood(self, *values: tf.Tensor) -> tf.Tensor:
        """Returns importance-weighted log p(x) in nats for each example, of so many samples."""
        message = "Expected num_samples >= 1."
        with tf.control_dependencies([tf.debugging.assert_positive(values[-1], message)]):
            number = tf.identity(values[-1])
        return importance.estimate_batch(
            self.graph, (self._named(values[:-1]), {}), number, self.seed()
        )


class OfOneVariable(Endpoints):
    """The endpoints of a VAE: those of one z and one x, without their names.

    `serve`, `decode` and `sample` return x, and `encode` z, mean and stddev.
    """

    def serve(self, *values: tf.Tensor) -> tf.Tensor:
        return super().serve(*values)["x"]

    def encode(self, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name.removeprefix("z_"): value for name, value in super().encode(*values).items()}

    def decode(self, *values: tf.Tensor) -> tf.Tensor:
        return super().decode(*values)["x"]

    def sample(self, *values: tf.Tensor) -> tf.Tensor:
        return super().sample(*values)["x"]
