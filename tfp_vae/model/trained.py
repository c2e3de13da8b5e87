"""What a trained model is for: encoding, decoding, sampling, likelihoods, exporting."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge import sparse
from tfp_vae.bridge.first_calls import first_alone
from tfp_vae.bridge.random_state import pair_of
from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.conditional import as_distribution
from tfp_vae.model.export.converters import export_converted
from tfp_vae.model.export.saved_model import export_endpoints
from tfp_vae.model.fit_prior import fit_prior as fitted_prior
from tfp_vae.model.generation import generate
from tfp_vae.model.inference import ROWS, large
from tfp_vae.model.without_kl import without_kl
from tfp_vae.types import TensorDistribution
from tfp_vae.wiring import Wiring, outline, rows


class Trained:
    """The methods of a `VAE` that use what it learnt; the rest of it says how it learns."""

    encoder: Any
    decoder: Any
    prior: Any
    objective: Any
    graph: Variables
    wiring: Wiring
    has_density: bool
    posterior_layer: Any
    next_seed: Any
    _checks: Any
    _draw_many: Any
    _mean_of_many: Any

    @first_alone
    def encode(self, x: Any) -> TensorDistribution:
        """q(z|x), a distribution with batch `[n]`: `.mean()`, `.stddev()`, `.sample()`."""
        self._checks.batch(x, is_target=False)
        return self._posterior(*self.wiring.split(x))

    def _posterior(self, x: Any, conditions: dict[str, Any]) -> tfd.Distribution:
        run = self.graph.posteriors["z"].inference
        if sparse.is_sparse(x) and large(x):
            data, count = sparse.by_row((x, conditions)), sparse.count(x)
            parts = (rows(data, start, ROWS) for start in range(0, count, ROWS))
            found = run.of_batches(self.wiring.encoded(*part) for part in parts)
        else:
            found = run(self.wiring.encoded(x, conditions))
        return as_distribution(found, "encoder")

    @first_alone
    def decode(self, z: Any, conditions: Any = None) -> TensorDistribution:
        """p(x|z), a distribution with batch `[n]` for z of shape `[n, ...]`.

        Where the decoder has conditions, they are given with z, `[n, ...]` each: a dict by name, a
        list in order, or the one that there is.
        """
        given = self.wiring.given(conditions)
        self._checks.latents(z)
        self._checks.conditions(given, z, "z")
        return self._infer(z, given)

    def _infer(self, z: Any, conditions: dict[str, Any]) -> tfd.Distribution:
        inputs = self.wiring.decoded(z, conditions)
        return as_distribution(self.graph.likelihoods["x"].inference(inputs), "decoder")

    @first_alone
    def reconstruct(self, x: Any) -> tf.Tensor:
        """E[x'|z] at z = E[z|x]: x as the model sees it, the same at each call.

        Where q has no mean among the z that it draws, the value that stands for it: the direction
        of a spherical one, the one-hot vector of a categorical one. x may have noise that the
        model was trained to take away, `fit(noisy, clean)`.
        """
        self._checks.batch(x, is_target=False)
        data = sparse.dense(self.wiring.split(x))
        return (self._mean_of_many if large(data) else self._mean_of)(*data)

    def _mean_of(self, x: Any, conditions: dict[str, Any]) -> tf.Tensor:
        z = self.representative(self._posterior(x, conditions))
        return self._infer(z, conditions).mean()

    @functools.partial(checked, num_samples="done")
    @first_alone
    def sample(
        self,
        num_samples: int,
        mean: bool = True,
        seed: int | None = None,
        conditions: Any = None,
        length: int | None = None,
    ) -> tf.Tensor:
        """New x: z drawn from the prior, then the mean of p(x|z), or with `mean=False` a draw.

        Args:
          num_samples: how many.
          mean: False draws from p(x|z) too.
          seed: an integer gives the same images each time; None goes on with the model's own.
          conditions: what decoder and prior are conditioned on, one row for each sample; see
            `decode`.
          length: the number of steps, where z is a sequence of any number.
        """
        given = self.wiring.given(conditions, draws=True)
        for name, value in given.items():
            self._checks.conditions({name: value}, value, "the conditions")
            if not tf.is_symbolic_tensor(value) and len(value) != num_samples:
                raise InputError(f"Expected {num_samples} rows of {name}.", outline(value))
        pair = self.next_seed() if seed is None else pair_of(seed)
        if tf.executing_eagerly() and num_samples >= ROWS:
            return self._draw_many(tf.constant(num_samples, tf.int32), pair, given, mean, length)
        return self._draw(num_samples, pair, given, mean, length)

    def _draw(
        self, num_samples: Any, seed: Any, given: dict[str, Any], mean: bool, length: Any = None
    ) -> tf.Tensor:
        return generate(self.graph, num_samples, seed, given, mean, length)["x"]

    def fit_prior(self, x: Any, prior: Any, **kwargs: Any) -> Any:
        """A new `VAE` with this one's networks and objective, and a prior fitted to its z.

        The prior is fitted, by maximum likelihood, to z drawn from q(z|x); encoder and decoder stay
        as they are. The new model shares them, but for a KL term that the encoder carries, against
        the former prior; it is to be compiled before it is trained or evaluated. So a VQ-VAE
        (`priors.AutoregressiveCodes`) and an autoencoder without noise (`layers.Deterministic`)
        generate: van den Oord et al., arXiv:1711.00937; Ghosh et al., arXiv:1903.12436.

        Args:
          x: the examples, an array or a data set of batches that ends.
          prior: a `Prior`, such as `FlowPrior`, or what becomes one, trained by gradient on the
            mean of `-log p(z)`; a `VAEPrior`: its VAE is trained by its own `fit`, and compiled if
            it is not yet; or a `sklearn.mixture.GaussianMixture`, fitted by its own `fit`, whose
            values become constants.
          **kwargs: `epochs` (100), `batch_size` (128), `optimizer` ("adam"); `num_draws` (1): z for
            each x; `seed`: an integer makes draws and order repeatable; `validation_data`: other x;
            `verbose`, `callbacks` and others as for Keras' `fit`. An estimator of scikit-learn
            takes `num_draws` and `seed` alone.

        Raises:
          InputError: the prior is not over z, or has nothing to train, or x is no data.
        """
        prior = fitted_prior(self, self._checks.data(x, None, "x"), prior, **kwargs)
        parts = (without_kl(self.encoder), self.decoder, prior, self.objective)
        return type(self)(*parts)  # type: ignore[call-arg]

    def representative(self, posterior: tfd.Distribution) -> tf.Tensor:
        """The one z that stands for q(z|x): its mean, unless its layer says otherwise."""
        choose = getattr(self.posterior_layer, "representative", tfd.Distribution.mean)
        return choose(posterior)

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: bool | None = True,
        input_signature: Any = None,
        endpoints: Sequence[str] | str | None = None,
        opset_version: int | None = None,
    ) -> None:
        """Writes what the model answers as a SavedModel, or for ONNX's or LiteRT's runtimes.

        A SavedModel has the endpoints serve, encode, decode, sample and log_likelihood. The others
        hold no draws, so that they have serve, encode and decode, with the same numbers, for any
        size of batch: `encode` gives z, mean and stddev.

        Args:
          filepath: the folder to write: `serve.onnx`, `encode.onnx` and `decode.onnx`, or the same
            with `.tflite`. One file, where it ends so: "model.tflite" has all three as signatures,
            "model.onnx" has `serve`.
          format: "tf_saved_model", "onnx" (by the package tf2onnx) or "litert".
          verbose: Keras prints the endpoints.
          input_signature: none: the networks have theirs.
          endpoints: those to convert; None: all.
          opset_version: of ONNX.

        Raises:
          InputError: the format has no such endpoint, or cannot say what the networks compute; or
            a package is not installed.
        """
        if input_signature is not None:
            raise InputError(
                "The networks say what the inputs of a VAE are: expected no input_signature.",
                repr(input_signature),
            )
        if format == "tf_saved_model" and (endpoints or opset_version):
            raise InputError(
                "A SavedModel has all endpoints: expected format 'onnx' or 'litert' with these.",
                f"endpoints={endpoints}, opset_version={opset_version}",
            )
        if format == "tf_saved_model":
            export_endpoints(self, filepath, verbose=bool(verbose))
        else:
            export_converted(self, filepath, format, endpoints, opset_version)
