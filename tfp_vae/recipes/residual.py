"""The top-down VAE of many groups of latent variables, a residual step of one state each."""

from __future__ import annotations

import math
from typing import Any

import keras

from tfp_vae import layers, networks, schedules
from tfp_vae.errors import InputError
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.objectives import ELBO
from tfp_vae.recipes import parts
from tfp_vae.recipes.base import Setting, recipe

__all__: list[str] = []  # `RECIPES` has them


@recipe(
    "top-down residual VAE",
    "Vahdat and Kautz (NVAE), arXiv:2007.03898; Child (VDVAE), arXiv:2011.10650",
    "likelihood: a deep hierarchy, coarse to fine with a conv body",
)
def top_down_vae(s: Setting, groups: int = 5) -> LatentModel:
    if groups < 2:
        raise InputError("Expected at least two groups of latent variables.", groups)
    net = _Net(s, groups)
    latents: dict[str, Any] = {}
    for number in range(groups):
        latents[f"z{groups - number}"] = (net.posterior(number), net.prior(number))
    objective = ELBO(beta=schedules.warm_up(max(1, round(0.3 * s.steps))), free_bits=0.01)
    return LatentModel(
        latents, {"x": net.likelihood()}, features=net.features(), objective=s.chosen(objective)
    )


class _Net:
    """The networks: z{groups} at the top, of the smallest map, to z1.

    A state is a vector, or with a conv body a map; a group's latent values are a vector of `width`
    values, or of `width` at each place of the map. Group i hands the state `d{i}` down, beside the
    parameters `p{i}` of its prior; the features `h{i}` go up.
    """

    def __init__(self, s: Setting, groups: int) -> None:
        self.s, self.groups = s, groups
        self.width = max(1, s.latent_size // groups)
        self.body = parts.trunk(s)
        shapes = [(s.widths[-1] if s.widths else 64,)]
        if s.body == "conv":
            convolutions = [one for one in self.body if isinstance(one, keras.layers.Conv2D)]
            shapes = [tuple(one.output.shape[1:]) for one in reversed(convolutions)]
        self.shapes = [shapes[i * len(shapes) // groups] for i in range(groups)]
        self.finest = shapes[-1]

    def _name(self, kind: str, number: int) -> str:
        return f"{kind}{self.groups - number}"

    def _size(self, number: int) -> int:
        return math.prod(self.shapes[number][:-1]) * self.width

    def _input(self, kind: str, number: int) -> keras.KerasTensor:
        shape = {"z": (self._size(number),), "p": (2 * self._size(number),)}
        return keras.Input(shape.get(kind, self.shapes[number]), name=self._name(kind, number))

    def _linear(self, units: int) -> keras.layers.Layer:
        if self.s.body == "conv":
            return keras.layers.Conv2D(units, 3, padding="same")
        return keras.layers.Dense(units)

    def _step(self, h: keras.KerasTensor) -> keras.KerasTensor:
        """Returns `h + f(h)`."""
        chain: list[keras.layers.Layer] = []
        for _ in range(2):
            chain += [keras.layers.Activation(self.s.activation), self._linear(h.shape[-1])]
        return keras.layers.Add()([h, parts.through(chain, h)])

    def _parameters(self, h: keras.KerasTensor, stddev: float | None = None) -> keras.KerasTensor:
        """Returns locations and scales before their softplus; `stddev`: of the first weights."""
        each = []
        for _ in range(2):
            linear = self._linear(self.width)
            if stddev is not None:
                linear.kernel_initializer = keras.initializers.RandomNormal(stddev=stddev)
            each.append(keras.layers.Flatten()(linear(h)))
        return keras.layers.Concatenate()(each)

    def _with_label(
        self, h: keras.KerasTensor, given: dict[str, keras.KerasTensor]
    ) -> keras.KerasTensor:
        if "label" not in given:
            return h
        shape = (*(1 for _ in h.shape[1:-1]), h.shape[-1])
        chain = [keras.layers.Dense(h.shape[-1]), keras.layers.Reshape(shape)]
        of_label = parts.through(chain, parts.shown(self.s, {"label": given["label"]}))
        return keras.layers.Add()([h, of_label])

    def _down(
        self, number: int, state: keras.KerasTensor | None, z: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Returns the state behind a group: its own, and what z adds."""
        shape = self.shapes[number]
        h = self._linear(shape[-1])(keras.layers.Reshape((*shape[:-1], self.width))(z))
        return self._step(h if state is None else keras.layers.Add()([state, h]))

    def _resized(self, h: keras.KerasTensor, shape: tuple[int, ...]) -> keras.KerasTensor:
        """Returns a map of the size of another level, cropped where twice its own is too large."""
        times = 1
        if self.s.body == "conv":
            pairs = zip(shape[:-1], h.shape[1:-1], strict=True)
            times = max(-(-wanted // given) for wanted, given in pairs)
        if times > 1:
            h = keras.layers.UpSampling2D(times)(h)
            over = [(0, h.shape[axis + 1] - shape[axis]) for axis in range(2)]
            h = keras.layers.Cropping2D(tuple(over))(h)
        return h if h.shape[-1] == shape[-1] else self._linear(shape[-1])(h)

    def features(self) -> keras.Model:
        """Returns the network from x up to what each posterior is told."""
        given = parts.data(self.s)
        h, found = given["x"], {}
        for layer in self.body:
            h = layer(h)
            if isinstance(layer, keras.layers.Conv2D) or layer is self.body[-1]:
                found[tuple(h.shape[1:])] = h
        by_level: dict[Any, keras.KerasTensor] = {}
        told = {}
        for number in reversed(range(self.groups)):
            shape = self.shapes[number]
            h = by_level.get(shape)
            h = self._with_label(found[shape], given) if h is None else self._step(h)
            by_level[shape] = told[self._name("h", number)] = h
        return keras.Model(given, told)

    def prior(self, number: int) -> keras.Model | None:
        """Returns the network of p(z | state, z above); None, a unit Normal, at the top."""
        if number == 0:
            return None
        z = self._input("z", number - 1)
        given = {z.name: z}
        state = None
        if number > 1:
            state = self._input("d", number - 1)
            given[state.name] = state
        h = self._resized(self._down(number - 1, state, z), self.shapes[number])
        parameters = self._parameters(self._step(h))
        made = layers.IndependentNormal(self._size(number))(parameters)
        more = {self._name("d", number): h, self._name("p", number): parameters}
        return keras.Model(given, {self._name("z", number): made, **more})

    def posterior(self, number: int) -> keras.Model:
        """Returns the network of q, relative to p; at the top a Normal of its own."""
        h = self._input("h", number)
        if number == 0:
            top = layers.IndependentNormal(self._size(0))(self._parameters(self._step(h)))
            return keras.Model({h.name: h}, top)
        state, prior = self._input("d", number), self._input("p", number)
        told = self._step(keras.layers.Add()([h, state]))
        moves = self._parameters(told, stddev=0.01)  # q begins near p
        both = keras.layers.Concatenate()([prior, moves])
        q = layers.ResidualNormal(self._size(number))(both)
        return keras.Model({one.name: one for one in (h, state, prior)}, q)

    def likelihood(self) -> keras.Model:
        """Returns the network of p(x | state, z1), with the label where there is one."""
        s, last = self.s, self.groups - 1
        state, z = self._input("d", last), self._input("z", last)
        given = {state.name: state, z.name: z, **parts.label(s)}
        h = self._with_label(self._down(last, state, z), given)
        if s.body == "conv":
            h = self._resized(h, self.finest)
        end = networks.decoder(h.shape[-1], s.last_layer(), s.body, s.widths[:1], s.activation)
        chain = end.layers[2:] if s.body == "conv" else end.layers  # it is a map already
        return keras.Model(given, parts.through(chain, h))
