"""The variational autoencoder: two networks, a prior and an objective, as a `keras.Model`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import schedules
from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.first_calls import first_alone
from tfp_vae.bridge.loading import loaded
from tfp_vae.bridge.random_state import pair_of
from tfp_vae.distributions import shapes
from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.base import ProbabilisticModel, serialized
from tfp_vae.model.checks import networks
from tfp_vae.model.choosers import representative
from tfp_vae.model.conditional import Conditional
from tfp_vae.model.conditions import Conditioned, shared_names
from tfp_vae.model.export.converters import export_converted
from tfp_vae.model.export.endpoints import OfOneVariable, export_endpoints
from tfp_vae.model.fit_prior import fit_prior as fitted_prior
from tfp_vae.model.imputation import Imputation
from tfp_vae.model.latent_variable import posterior_and_prior
from tfp_vae.model.unregularized import unregularized
from tfp_vae.objectives import ELBO, Objective
from tfp_vae.types import ModelOptions, TensorDistribution
from tfp_vae.wiring import Ports, outline

if TYPE_CHECKING:
    from typing_extensions import Unpack


@keras.saving.register_keras_serializable(package="tfp_vae")
class VAE(ProbabilisticModel):
    """A variational autoencoder from four choices: posterior, prior, likelihood, objective.

    `fit` minimizes the objective's loss, by default the negative ELBO in nats,
    `-E_q[log p(x|z)] + KL[q(z|x) || p(z)]` with `z = mu + sigma * eps` (Kingma and Welling,
    arXiv:1312.6114), averaged over the batch. It reports `loss`, `nll` = -E_q[log p(x|z)] and `kl`.

    Args:
      encoder: a functional or Sequential model from x to the posterior q(z|x): it ends in a
        distribution layer, such as `IndependentNormal`.
      decoder: a model from z to the likelihood p(x|z): it ends in one, such as
        `IndependentBernoulli`.
      prior: p(z): a `tfd.Distribution`, a `tfp_vae.priors.Prior`, or a function that returns a
        distribution; or a network of conditions, p(z|c). None: the one of the encoder's
        `KLDivergenceRegularizer`, else a unit normal.
      objective: None: `ELBO()`, with the weight of the encoder's `KLDivergenceRegularizer` if it
        has one. The KL is counted once, by the objective.

    Either network may have further inputs, such as labels: the model is then conditioned on them.
    Those of the same name are the same; x is the encoder's input of that name, else its first, and
    z the decoder's likewise. All that takes x takes `[x, condition, ...]` or a dict by name.

    Raises:
      InputError: a network does not end in a distribution layer, the latent sizes differ, prior or
        weight are given both here and in the encoder, and differ, or the objective needs draws from
        a density, and the encoder's last layer has none, or gives the mean of q for z.

    Example:
      >>> from tfp_vae import layers
      >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4),
      ...                             layers.IndependentNormal(2)])
      >>> decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8),
      ...                             layers.IndependentBernoulli(8)])
      >>> vae = VAE(encoder, decoder)
      >>> vae.compile("adam")
      >>> sorted(vae.fit(tf.ones([64, 8]), verbose=0).history)
      ['kl', 'loss', 'nll']
    """

    wiring: Conditioned

    @checked
    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        prior: Any = None,
        objective: Objective | None = None,
        **kwargs: Unpack[ModelOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.posterior_layer = networks.final_operation(encoder, "encoder")
        networks.final_operation(decoder, "decoder")
        of_x, of_z = Ports(encoder, "x"), Ports(decoder, "z")
        names = shared_names(of_x, of_z)
        networks.latent_sizes_match(encoder, of_z)
        q, p = posterior_and_prior("z", encoder, prior, ("encoder", "prior"), {of_x.main.name: "x"})
        self.encoder, self.decoder = encoder, decoder
        self.prior: Any = p.network or p.prior
        likelihood = Conditional(decoder, "x", "decoder", {of_z.main.name: "z", **names})
        graph = Variables({"z": q}, {"z": p}, {"x": likelihood})
        _fits(q, p, likelihood)
        regularizers = [regularizer for _, regularizer in networks.kl_regularizers(encoder)]
        objective = _one_objective(objective, regularizers)
        self._assemble(graph, Conditioned(graph, of_x, of_z, names), objective)

    def _parts(self) -> list[Any]:
        return [self.encoder, self.decoder, self.prior]

    def functional(self) -> keras.Model:
        """Returns the networks as one functional model from x, and the conditions, to p(x|z).

        It shares all weights, and is what `keras.utils.plot_model` draws, which makes one box of
        any other kind of model: `plot_model(vae.functional(), expand_nested=True)`.
        """
        values = {
            name: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=name)
            for name, t in self.wiring.ports.items()
        }
        z = self.encoder(self.graph.posteriors["z"].arranged(values))
        x = self.decoder(self.graph.likelihoods["x"].arranged({**values, "z": z}))
        return keras.Model(list(values.values()), x, name=self.name)

    # -- what it learnt ------------------------------------------------------------------------

    @first_alone
    def encode(self, x: Any) -> TensorDistribution:
        """Returns q(z|x), a distribution with batch `[n]`: `.mean()`, `.stddev()`, `.sample()`."""
        self._checks.batch(x, is_target=False)
        return self.answers.posteriors(self.wiring.by_name(x))["z"]

    @first_alone
    def decode(self, z: Any, conditions: Any = None) -> TensorDistribution:
        """Returns p(x|z), a distribution with batch `[n]` for z of shape `[n, ...]`.

        Where the decoder has conditions, they are given with z, `[n, ...]` each: a dict by name, a
        list in order, or the one that there is.
        """
        given = self.wiring.given(conditions)
        self._checks.latents({"z": z})
        self._checks.conditions(given, z, "z")
        return self.answers.likelihoods({"z": z}, given)["x"]

    @first_alone
    def reconstruct(self, x: Any) -> tf.Tensor:
        """Returns E[x'|z] at z = E[z|x]: x as the model sees it, the same at each call.

        Where q has no mean among the z that it draws, the value that stands for it: the direction
        of a spherical one, the one-hot vector of a categorical one. x may have noise that the
        model was trained to take away, `fit(noisy, clean)`.
        """
        self._checks.batch(x, is_target=False)
        return self.answers.means(self.wiring.by_name(x))["x"]

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
        """Returns new x: z drawn from the prior, then the mean of p(x|z), or a draw.

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
        return self.answers.draw(num_samples, pair, given, mean, length)["x"]

    @functools.partial(checked, num_draws="done")
    @first_alone
    def impute(
        self,
        x: Any,
        num_samples: int = 1000,
        num_draws: int = 0,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        seed: int | None = None,
    ) -> Imputation:
        """Returns what the unknown entries of x are, given the known ones.

        By self-normalized importance sampling of p(z | x_known) with K draws from q(z | x_known),
        `w_k` in proportion to `p(x_known | z_k) p(z_k) / q(z_k | x_known)`: the mean, the mode of
        categories, the standard deviation, quantiles, and completed copies for multiple imputation.

        Args:
          x: the examples, `[n, ...]`, NaN where an entry is not known, with the conditions if
            there are any; or `{"x": x, "x_known": mask}`.
          num_samples: K.
          num_draws: how many completed copies.
          quantiles: the levels, from 0 to 1.
          seed: an integer makes the draws repeatable.

        Raises:
          InputError: the model has no density, or its likelihood no marginals in closed form.

        Source: Mattei and Frellsen, arXiv:1812.02633, section 3.

        Example:
          >>> from tfp_vae import layers, networks
          >>> vae = VAE(networks.encoder((3,), 2, unknown=True),
          ...           networks.decoder(2, layers.IndependentNormal(3)))
          >>> found = vae.impute([[1.0, float("nan"), 2.0]], num_draws=5)
          >>> found.mean.shape, found.draws.shape, found.mean[0, [0, 2]].tolist()
          ((1, 3), (5, 1, 3), [1.0, 2.0])
        """
        return self._impute(x, num_samples, num_draws, quantiles, seed)["x"]

    def fit_prior(self, x: Any, prior: Any, **kwargs: Any) -> VAE:
        """Returns a `VAE` with this one's networks and objective, and a prior fitted to its z.

        The prior is fitted, by maximum likelihood, to z drawn from q(z|x); encoder and decoder stay
        as they are. The new model shares them, but for a KL term that the encoder carries, against
        the former prior; it is to be compiled before it is trained or evaluated. So a VQ-VAE
        (`priors.AutoregressiveCodes`) and an autoencoder without noise (`layers.Deterministic`)
        generate: van den Oord et al., arXiv:1711.00937; Ghosh et al., arXiv:1903.12436.

        Args:
          x: the examples, an array or a data set of batches that ends.
          prior: a `Prior`, such as `FlowPrior`, or what becomes one, trained by gradient on the
            mean of `-log p(z)`; a `VAEPrior`: its VAE is trained by its own `fit`, and compiled if
            it is not yet; a network of conditions, for p(z | conditions); or a
            `sklearn.mixture.GaussianMixture`, fitted by its own `fit`, whose values become
            constants.
          **kwargs: `epochs` (100), `batch_size` (128), `optimizer` ("adam"); `num_draws` (1): z for
            each x; `seed`: an integer makes draws and order repeatable; `validation_data`: other x;
            `verbose`, `callbacks` and others as for Keras' `fit`. An estimator of scikit-learn
            takes `num_draws` and `seed` alone.

        Raises:
          InputError: the prior is not over z, or has nothing to train, or x is no data.
        """
        prior = fitted_prior(self, self._checks.data(x, None, "x"), prior, **kwargs)
        return type(self)(unregularized(self.encoder), self.decoder, prior, self.objective)

    def representative(self, posterior: tfd.Distribution) -> tf.Tensor:
        """Returns the one z that stands for q(z|x): the mean, unless its layer says otherwise."""
        return representative(self.posterior_layer, posterior)

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
            export_endpoints(self, filepath, OfOneVariable, verbose=bool(verbose))
        else:
            export_converted(self, filepath, format, endpoints, opset_version)

    # -- saving --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        from_encoder = any(r.prior is self.prior for _, r in networks.kl_regularizers(self.encoder))
        prior = None if from_encoder else self.prior
        made = serialized([self.encoder, self.decoder, prior, self.objective])
        return {**super().get_config(), **dict(zip(_PARTS, made, strict=True))}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> VAE:
        made = {name: loaded(config[name], custom_objects) for name in _PARTS}
        return cls(**{**config, **made})


_PARTS = ("encoder", "decoder", "prior", "objective")


def _fits(q: Conditional, p: Conditional, likelihood: Conditional) -> None:
    """Looks at what is known of the distributions' shapes before there are data."""
    if q.outline is not None:
        shapes.posterior_fits(q.outline, of_steps=q.of_steps)
        p_z = p.outline if p.prior is None else p.prior.distribution()
        if p_z is not None:
            shapes.prior_fits(p_z, q.outline, of_rows=p.prior is None)
    p_x = likelihood.outline
    if p_x is not None and p_x.batch_shape.rank != 1:
        shapes.likelihood_fits(p_x, likelihood.output, likelihood.of_steps)


def _one_objective(given: Objective | None, regularizers: list[Any]) -> Objective:
    """Returns the objective; one that is not given takes the KL's weight from the encoder."""
    if len(regularizers) > 1:
        raise InputError("Expected at most one KL term in the encoder.", len(regularizers))
    weight = next((r.weight for r in regularizers if r.weight is not None), None)
    if given is None:
        return ELBO(1.0 if weight is None else weight)
    if weight is not None and schedules.to_config(weight) != given.get_config().get("beta"):
        raise InputError(
            "The KL's weight is expected in one place: the objective or the encoder's "
            "KLDivergenceRegularizer.",
            f"{given} and weight={weight}",
        )
    return given
