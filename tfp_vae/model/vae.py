"""The variational autoencoder: two networks, a prior and an objective, as a `keras.Model`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfp_vae import schedules
from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.loading import loaded
from tfp_vae.distributions import shapes
from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.base import ProbabilisticModel
from tfp_vae.model.checks import networks
from tfp_vae.model.checks.data import DataChecks
from tfp_vae.model.conditional import Conditional, is_network
from tfp_vae.model.default_prior import default_prior, one_prior
from tfp_vae.model.trained import Trained
from tfp_vae.objectives import ELBO, Objective
from tfp_vae.types import ModelOptions
from tfp_vae.wiring import Wiring

if TYPE_CHECKING:
    from typing_extensions import Unpack


@keras.saving.register_keras_serializable(package="tfp_vae")
class VAE(Trained, ProbabilisticModel):
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
        self.posterior_layer = networks.final_operation(encoder, "encoder")
        likelihood = networks.final_operation(decoder, "decoder")
        regularizers = [regularizer for _, regularizer in networks.kl_regularizers(encoder)]
        self.wiring = wiring = Wiring(encoder, decoder, prior if is_network(prior) else None)
        networks.latent_sizes_match(encoder, wiring)
        self.encoder = encoder
        self.decoder = decoder
        ours = {wiring.encoder.main.name: "x"}
        posterior = Conditional(encoder, "z", "encoder", ours, is_posterior=True)
        theirs = {wiring.decoder.main.name: "z", **wiring.as_ours}
        if is_network(prior):
            networks.no_kl_term(regularizers)
            self.prior = prior
        else:
            self.prior = one_prior(prior, regularizers, functools.partial(default_prior, posterior))
        p = Conditional(self.prior, "z", "prior")
        p.bind(encoder)
        graph = Variables(
            {"z": posterior},
            {"z": p},
            {"x": Conditional(decoder, "x", "decoder", theirs)},
        )
        data_checks = DataChecks(
            wiring,
            decoder.output_shape[1:],
            getattr(likelihood, "support", None),
            getattr(likelihood, "is_of_integers", False),
        )
        self._fits(graph)
        self._assemble(graph, _one_objective(objective, regularizers), data_checks)
        self._mean_of_many = tf.function(self._mean_of, autograph=False, reduce_retracing=True)
        self._draw_many = tf.function(self._draw, autograph=False, reduce_retracing=True)

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

    def _fits(self, graph: Variables) -> None:
        """Looks at what is known of the distributions' shapes before there are data."""
        q, likelihood = graph.posteriors["z"], graph.likelihoods["x"]
        posterior, p_x = q.outline, likelihood.outline
        if posterior is not None:
            shapes.posterior_fits(posterior, of_steps=q.of_steps)
            network = graph.priors["z"].network
            p_z = self.prior.distribution() if network is None else graph.priors["z"].outline
            if p_z is not None:
                shapes.prior_fits(p_z, posterior, of_rows=network is not None)
        if p_x is not None and p_x.batch_shape.rank != 1:
            shapes.likelihood_fits(p_x, self.decoder.outputs[0], likelihood.of_steps)

    # -- saving --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        from_encoder = any(r.prior is self.prior for _, r in networks.kl_regularizers(self.encoder))
        prior = None if from_encoder else self.prior
        parts = [self.encoder, self.decoder, prior, self.objective]
        names = ("encoder", "decoder", "prior", "objective")
        made = self._serialized(parts)
        return {**super().get_config(), **dict(zip(names, made, strict=True))}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> VAE:
        config = dict(config)
        for key in ("encoder", "decoder", "prior", "objective"):
            config[key] = loaded(config[key], custom_objects)
        return cls(**config)


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
