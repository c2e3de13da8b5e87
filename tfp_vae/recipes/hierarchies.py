"""Published models with several latent variables, each drawn given the ones above it."""

from __future__ import annotations

import keras

from tfp_vae import layers, schedules
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.objectives import ELBO, IWAE
from tfp_vae.recipes import parts
from tfp_vae.recipes.base import Setting, recipe
from tfp_vae.recipes.groups import Groups
from tfp_vae.recipes.published import vamp_prior

__all__: list[str] = []  # `RECIPES` has them

Normal = layers.IndependentNormal


@recipe(
    "IWAE of two layers",
    "Burda et al., arXiv:1509.00519",
    "likelihood: more of z is used than in one layer",
)
def two_layer_iwae(s: Setting) -> LatentModel:
    n = s.latent_size
    return LatentModel(
        {
            "z2": (
                parts.conditional(s, parts.vectors(z1=2 * n), Normal(n)),
                None,
            ),
            "z1": (
                parts.conditional(s, parts.data(s), Normal(2 * n)),
                parts.conditional(s, parts.vectors(z2=n), Normal(2 * n)),
            ),
        },
        {"x": parts.likelihood(s, z1=2 * n)},
        objective=s.chosen(IWAE(50)),
    )


@recipe(
    "ladder VAE",
    "Sonderby et al., arXiv:1602.02282",
    "several layers of z that are all in use",
)
def ladder_vae(s: Setting) -> LatentModel:
    objective = ELBO(beta=schedules.warm_up(max(1, s.steps // 2)))
    if s.body == "conv":
        net = Groups(s, 3, states=False, relative=layers.PrecisionWeightedNormal)
        return net.model(objective)
    sizes = {"z3": s.latent_size, "z2": 2 * s.latent_size, "z1": 4 * s.latent_size}
    width = parts.hidden(s).units
    given = parts.data(s)
    h, upwards = parts.shown(s, given), {}
    for name in reversed(sizes):
        h = parts.hidden(s)(h)
        upwards[f"h_of_{name}"] = h
    top, above, latents = "z3", "z3", {}
    latents[top] = (parts.linear(s, Normal(sizes[top]), h_of_z3=width), None)
    for name in ("z2", "z1"):
        n = sizes[name]
        latents[name] = (
            _weighted(s, name, n, width),
            _prior_with_parameters(s, name, Normal(n), **{above: sizes[above]}),
        )
        above = name
    return LatentModel(
        latents,
        {"x": parts.likelihood(s, z1=sizes["z1"])},
        features=keras.Model(given, upwards),
        objective=s.chosen(objective),
    )


def _prior_with_parameters(
    s: Setting, name: str, layer: layers.IndependentNormal, **above: int
) -> keras.Model:
    """Returns the network of p(z | above), which hands its parameters on to q."""
    given = parts.vectors(**above)
    h = parts.through([parts.hidden(s), parts.hidden(s)], parts.shown(s, given))
    parameters = keras.layers.Dense(layer.num_parameters)(h)
    return keras.Model(given, {name: layer(parameters), f"p_of_{name}": parameters})


def _weighted(s: Setting, name: str, size: int, width: int) -> keras.Model:
    """Returns the network of q: what the data say, and the prior's parameters as they are."""
    prior = keras.Input((2 * size,), name=f"p_of_{name}")
    h = keras.Input((width,), name=f"h_of_{name}")
    own = keras.layers.Dense(2 * size)(h)
    q = layers.PrecisionWeightedNormal(size)(keras.layers.Concatenate()([prior, own]))
    return keras.Model({prior.name: prior, h.name: h}, q)


@recipe(
    "hierarchical VampPrior VAE",
    "Tomczak and Welling, arXiv:1705.07120, section 4",
    "two layers of z, whose upper one has a rich prior",
)
def hierarchical_vamp_vae(s: Setting) -> LatentModel:
    n = s.latent_size
    of_z1 = {**parts.data(s), **parts.vectors(z2=n)}
    return LatentModel(
        {
            "z2": (parts.conditional(s, parts.data(s), Normal(n)), vamp_prior(s)),
            "z1": (
                parts.conditional(s, of_z1, Normal(n)),
                parts.conditional(s, parts.vectors(z2=n), Normal(n)),
            ),
        },
        {"x": parts.likelihood(s, z1=n, z2=n)},
        objective=s.chosen(ELBO(beta=schedules.warm_up(max(1, s.steps // 10)))),
    )
