"""The variational autoencoder: two networks, a prior and an objective, as a `keras.Model`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import checks, importance, replicas, schedules, shapes, sparse
from tfp_vae.ahead import Epoch
from tfp_vae.arguments import checked
from tfp_vae.coercible import TensorCoercible
from tfp_vae.data_checks import DataChecks
from tfp_vae.density import log_density
from tfp_vae.errors import InputError
from tfp_vae.execution import Execution
from tfp_vae.fitting import Fitting
from tfp_vae.inference import Inference
from tfp_vae.keras_model import KerasModel
from tfp_vae.legacy import LegacySaving
from tfp_vae.loading import loaded
from tfp_vae.objectives import ELBO, ForwardPass, Objective
from tfp_vae.objectives.forward import Gate
from tfp_vae.origins import moved
from tfp_vae.passes import adds_losses, further_pass
from tfp_vae.prior import Prior, as_prior, unit_normal
from tfp_vae.seeded import Seeded
from tfp_vae.trained import Trained
from tfp_vae.types import ModelOptions
from tfp_vae.wiring import Wiring

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclasses.dataclass(frozen=True)
class Latents:
    """What a forward pass drew: the posterior q(z|x), and z of shape `[samples, batch, ...]`.

    Beside them what it was drawn with: `log_posterior()`, log q(z|x) at z, which flows know without
    an inverse; the gate that z went through, if any; and the conditions of the decoder.
    """

    posterior: tfd.Distribution
    z: tf.Tensor
    log_posterior: Callable[[], tf.Tensor]
    gate: Gate | None
    conditions: dict[str, Any]


@keras.saving.register_keras_serializable(package="tfp_vae")
class VAE(Trained, Fitting, Execution, Seeded, LegacySaving, KerasModel):
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
        distribution. None: the one of the encoder's `KLDivergenceRegularizer`, else a unit normal.
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
        self.posterior_layer = checks.final_operation(encoder, "encoder")
        likelihood = checks.final_operation(decoder, "decoder")
        self.wiring = Wiring(encoder, decoder)
        checks.latent_sizes_match(encoder, self.wiring)
        self._checks = DataChecks(
            self.wiring,
            decoder.output_shape[1:],
            getattr(likelihood, "support", None),
            getattr(likelihood, "is_of_integers", False),
        )
        # Where z is no draw from q(z|x), but its mean, the model is one without noise.
        gives_draws = getattr(self.posterior_layer, "gives_draws", True)
        self.has_density: bool = gives_draws and getattr(self.posterior_layer, "has_density", True)
        self._kl_layers = [layer for layer, _ in checks.kl_regularizers(encoder)]
        regularizers = [regularizer for _, regularizer in checks.kl_regularizers(encoder)]
        self.encoder = encoder
        self.decoder = decoder
        self.prior = _one_prior(prior, regularizers, self._default_prior)
        self.prior.bind(encoder)
        self.objective = _one_objective(objective, regularizers)
        if self.objective.needs_density and not self.has_density:
            checks.refuse_point_mass(self.posterior_layer, type(self.objective).__name__)
        self._draws = 1
        self._fitting = False
        self._epoch_of_training, self._epoch_of_evaluation = Epoch(), Epoch()
        self._encode = Inference(encoder, self.wiring.encoder.structure)
        self._decoder_alone = Inference(decoder, self.wiring.decoder.structure)
        self._fits()
        self._mean_of_many = tf.function(self._mean_of, autograph=False, reduce_retracing=True)
        self._draw_many = tf.function(self._draw, autograph=False, reduce_retracing=True)
        self.nll_metric = keras.metrics.Mean("nll")
        self.kl_metric = keras.metrics.Mean("kl") if self.has_density else None
        self.seed_generator = keras.random.SeedGenerator()
        self.log_likelihood_batch = tf.function(
            functools.partial(importance.estimate_batch, self),
            None,
            autograph=False,
            reduce_retracing=True,
        )
        self.built = True

    @property
    def layers(self) -> list[Any]:
        """The encoder, the decoder, the prior, and what else there is: each once."""
        known = [self.encoder, self.decoder, self.prior]
        inside = {id(part) for one in known for part in one._flatten_layers()}
        return [*known, *(part for part in super().layers if id(part) not in inside)]

    def functional(self) -> keras.Model:
        """The networks as one functional model from x, and the conditions, to p(x|z).

        It shares all weights, and is what `keras.utils.plot_model` draws, which makes one box of
        any other kind of model: `plot_model(vae.functional(), expand_nested=True)`.
        """
        ports = self.wiring
        given = {
            name: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=name)
            for name, t in {"x": ports.encoder.main, **ports.conditions}.items()
        }
        x = given.pop("x")
        z = self.encoder(ports.encoder.arranged(x, given))
        own = {theirs: given[ours] for theirs, ours in ports.as_ours.items()}
        likelihood = self.decoder(ports.decoder.arranged(z, own))
        return keras.Model([x, *given.values()], likelihood, name=self.name)

    def _fits(self) -> None:
        """Looks at what is known of the distributions' shapes before there are data."""
        posterior, likelihood = self._encode.outline(), self._decoder_alone.outline()
        if posterior is not None:
            shapes.posterior_fits(posterior)
            shapes.prior_fits(self.prior.distribution(), posterior)
        if likelihood is not None and likelihood.batch_shape.rank != 1:
            shapes.likelihood_fits(likelihood, self.decoder.outputs[0])

    # -- the forward pass and its loss --------------------------------------------------------

    def call(self, inputs: Any, training: bool | None = None) -> TensorCoercible:
        """Returns the likelihood p(x|z) at one z for each example, drawn from q(z|x).

        It has `latents` beside it. Steps of `fit` and `evaluate` draw as many z for each example as
        the objective wants, the sample axis folded into the batch, samples first.
        """
        self._checks.shape(inputs)
        return self._forward(inputs, training, self._draws)

    def _forward(self, inputs: Any, training: bool | None, samples: int) -> TensorCoercible:
        x, conditions = self.wiring.split(inputs)
        encoded = self.encoder(self.wiring.encoded(x, conditions), training=training)
        posterior = self._distribution(encoded, "encoder")
        if training and self.objective.needs_gradient:
            several = max(samples, self.objective.num_samples)
            checks.gradients_go_through(posterior, self.posterior_layer, several)
        drawn = tf.convert_to_tensor(posterior) if samples == 1 else posterior.sample(samples)
        gate = Gate() if training and self.objective.weighs_gradients else None
        z = moved(lambda t: t[tf.newaxis], drawn) if samples == 1 else drawn
        z = z if gate is None else moved(gate, z)

        def log_posterior() -> tf.Tensor:
            if gate is not None:
                return log_density(posterior, z)
            values = posterior.log_prob(drawn)  # a flow knows it for the tensor that it drew
            return values[tf.newaxis] if samples == 1 else values

        with _recorded(gate):
            flat = tf.reshape(z, tf.concat([[-1], tf.shape(z)[2:]], axis=0))
            flat.set_shape([None, *z.shape[2:]])
            likelihood = self._decode(flat, conditions, training, None if samples == 1 else samples)
        likelihood.latents = Latents(posterior, z, log_posterior, gate, conditions)
        return likelihood

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The objective's loss, averaged over the batch, and the networks' own regularization.

        y is what is to be reconstructed, where that is not x itself (a denoising VAE).
        """
        # Replicas that meet within the objective go on with the losses of another one's layers.
        meets = self.objective.sees_whole_batch and replicas.replica() is not None
        added = self._added() if meets else None
        latents: Latents = y_pred.latents
        samples = self.objective.num_samples
        if latents.z.shape[0] != samples:  # called by hand: `model(x)` is one draw
            y_pred = self._forward(x, training, samples)
            latents = y_pred.latents
        target = self.wiring.split(x)[0] if y is None else y
        optimizer = getattr(self, "optimizer", None)  # there is none before `compile`
        if sample_weight is not None:
            sample_weight = tf.reshape(sample_weight, [-1])
        with _recorded(latents.gate):
            prior = self.prior.at_step(training)
            shapes.posterior_fits(latents.posterior)
            shapes.prior_fits(prior, latents.posterior)
            log_likelihood = importance.log_likelihood(y_pred, target, samples)
            shapes.dtypes_fit(log_likelihood, latents.posterior)
            forward = ForwardPass(
                posterior=latents.posterior,
                prior=prior,
                z=latents.z,
                log_likelihood=log_likelihood,
                step=0 if optimizer is None else optimizer.iterations,
                log_posterior=latents.log_posterior,
                has_density=self.has_density,
                decode=lambda z: self._decode_again(z, latents.conditions, training),
                decoder=self.decoder,
                gate=latents.gate,
                weights=sample_weight,
            )
            terms = self.objective(forward)
            loss = terms.loss
            if sample_weight is not None:
                loss *= tf.cast(sample_weight, loss.dtype)
            loss = tf.reduce_mean(loss)
        self.nll_metric.update_state(terms.nll, sample_weight)
        if self.kl_metric is not None:
            self.kl_metric.update_state(terms.kl, sample_weight)
        if latents.gate is not None and latents.gate.weights is not None and self._adds_behind_z():
            loss += latents.gate.weighed_apart(loss)
        for more in self._added() if added is None else added:
            loss += tf.cast(tf.reduce_sum(more), loss.dtype)
        replicas.catch_up()
        return replicas.share_of_loss(loss, tf.shape(log_likelihood)[1])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """As Keras'; metrics given to `compile` compare x with the mean over the samples of z."""
        value = tf.convert_to_tensor(y_pred)
        latents = getattr(y_pred, "latents", None)  # None while Keras builds with placeholders
        if latents is not None and latents.z.shape[0] > 1:
            value = tf.reshape(value, [latents.z.shape[0], -1, *value.shape[1:]])
            value = tf.reduce_mean(value, axis=0)
        target = self.wiring.split(x)[0] if y is None else y
        if sample_weight is not None:
            sample_weight = tf.reshape(sample_weight, [-1])
        return super().compute_metrics(x, target, value, sample_weight)

    def train_step(self, data: Any) -> Any:
        with self._drawing(self.objective.num_samples), replicas.step():
            logs = super().train_step(sparse.dense(data))
            return replicas.as_keras_averages(logs, self.distribute_strategy)

    def test_step(self, data: Any) -> Any:
        with self._drawing(self.objective.num_samples):
            logs = super().test_step(sparse.dense(data))
            return replicas.as_keras_averages(logs, self.distribute_strategy)

    @contextlib.contextmanager
    def _drawing(self, samples: int) -> Iterator[None]:
        """Within it a call draws so many z for each example."""
        self._draws = samples
        try:
            yield
        finally:
            self._draws = 1

    def _decode(
        self, z: Any, conditions: dict[str, Any], training: bool | None, repeat: Any = None
    ) -> TensorCoercible:
        inputs = self.wiring.decoded(z, conditions, repeat)
        return self._distribution(self.decoder(inputs, training=training), "decoder")

    def _decode_again(self, z: Any, conditions: dict[str, Any], training: bool) -> TensorCoercible:
        with further_pass(self.decoder):
            return self._decode(z, conditions, training)

    def _added(self) -> list[Any]:
        """What layers have added to the losses, but the KL, which the objective counts."""
        counted = {id(kl) for layer in self._kl_layers for kl in layer.losses}
        return [added for added in self.losses if id(added) not in counted]

    def _adds_behind_z(self) -> bool:
        behind = [*self.decoder._flatten_layers(), *self.prior._flatten_layers()]
        before = {id(layer) for layer in behind}
        alone = [layer for layer in self.encoder._flatten_layers() if id(layer) not in before]
        return adds_losses(self._flatten_layers(), but=alone)

    @staticmethod
    def _distribution(output: Any, role: str) -> TensorCoercible:
        if isinstance(output, TensorCoercible):
            return output
        if isinstance(output, tfd.Distribution):
            return TensorCoercible(output)
        raise InputError(f"The {role} is expected to end in a distribution layer.", repr(output))

    def _default_prior(self) -> Any:
        make = getattr(self.posterior_layer, "default_prior", unit_normal)
        return make(self.wiring.decoder.main.shape[1:])

    # -- saving --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        from_encoder = any(r.prior is self.prior for _, r in checks.kl_regularizers(self.encoder))
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "prior": None if from_encoder else serialize(self.prior),
            "objective": serialize(self.objective),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> VAE:
        config = dict(config)
        for key in ("encoder", "decoder", "prior", "objective"):
            config[key] = loaded(config[key], custom_objects)
        return cls(**config)


def _recorded(gate: Gate | None) -> contextlib.AbstractContextManager:
    """Notes what is done with z, where its gradient may be weighed."""
    return contextlib.nullcontext() if gate is None else gate.recording()


def _one_prior(given: Any, regularizers: list[Any], default: Callable[[], Any]) -> Prior:
    """The prior, from the one place that names it."""
    if given is None:
        return regularizers[0].prior if regularizers else as_prior(default())
    for regularizer in regularizers:
        if given is not regularizer.distribution_b and given is not regularizer.prior:
            raise InputError(
                "The prior is expected in one place: VAE(prior=...) or the encoder's "
                "KLDivergenceRegularizer, or the same object in both.",
                f"{given} and {regularizer.distribution_b}",
            )
    return regularizers[0].prior if regularizers else as_prior(given)


def _one_objective(given: Objective | None, regularizers: list[Any]) -> Objective:
    """The objective; one that is not given takes the KL's weight from the encoder."""
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
