"""The networks of several groups of latent variables, vectors or maps, drawn from the top down."""

from __future__ import annotations

import math
from typing import Any

import keras

from tfp_vae import layers, networks
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.objectives import Objective
from tfp_vae.recipes import parts
from tfp_vae.recipes.base import Setting


class Groups:
    """The networks: z{groups} at the top, of the smallest map, to z1.

    A hidden value is a vector, or with a conv body a map; a group's latent values are a vector of
    `width` values, or of `width` at each place of the map. The features `h{i}` go up; group i hands
    the parameters `p{i}` of its prior down to its posterior, and the state `d{i}`, if there are
    states, to all below it.

    Args:
      s: the data and the body.
      groups: how many there are, at least 2.
      states: whether p(z{i} | above) is told of a state, or of the group above alone.
      relative: the layer of q, of the prior's parameters and of as many more.
    """

    def __init__(
        self,
        s: Setting,
        groups: int,
        states: bool = True,
        relative: type[layers.IndependentNormal] = layers.ResidualNormal,
    ) -> None:
        self.s, self.groups, self.states, self.relative = s, groups, states, relative
        self.width = max(1, s.latent_size // groups)
        self.body = parts.trunk(s)
        shapes = [(s.widths[-1] if s.widths else 64,)]
        if s.body == "conv":
            convolutions = [one for one in self.body if isinstance(one, keras.layers.Conv2D)]
            shapes = [tuple(one.output.shape[1:]) for one in reversed(convolutions)]
        self.shapes = [shapes[i * len(shapes) // groups] for i in range(groups)]
        self.finest = shapes[-1]

    def model(self, objective: Objective) -> LatentModel:
        """Returns the model of these networks."""
        each = {
            self._name("z", number): (self.posterior(number), self.prior(number))
            for number in range(self.groups)
        }
        return LatentModel(
            each,
            {"x": self.likelihood()},
            features=self.features(),
            objective=self.s.chosen(objective),
        )

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
        if number > 1 and self.states:
            state = self._input("d", number - 1)
            given[state.name] = state
        h = self._resized(self._down(number - 1, state, z), self.shapes[number])
        parameters = self._parameters(self._step(h))
        made = layers.IndependentNormal(self._size(number))(parameters)
        more = {self._name("p", number): parameters}
        if self.states:
            more[self._name("d", number)] = h
        return keras.Model(given, {self._name("z", number): made, **more})

    def posterior(self, number: int) -> keras.Model:
        """Returns the network of q, relative to p; at the top a Normal of its own."""
        h = self._input("h", number)
        if number == 0:
            top = layers.IndependentNormal(self._size(0))(self._parameters(self._step(h)))
            return keras.Model({h.name: h}, top)
        prior, stddev = self._input("p", number), None
        given, told = {h.name: h, prior.name: prior}, h
        if self.states:
            state = self._input("d", number)
            given[state.name], told = state, keras.layers.Add()([h, state])
            stddev = 0.01  # q begins near p
        own = self._parameters(self._step(told), stddev)
        both = keras.layers.Concatenate()([prior, own])
        return keras.Model(given, self.relative(self._size(number))(both))

    def likelihood(self) -> keras.Model:
        """Returns the network of p(x | z1, state), with the label where there is one."""
        s, last = self.s, self.groups - 1
        state, z = None, self._input("z", last)
        given = {z.name: z, **parts.label(s)}
        if self.states:
            state = self._input("d", last)
            given[state.name] = state
        h = self._with_label(self._down(last, state, z), given)
        if s.body == "conv":
            h = self._resized(h, self.finest)
        end = networks.decoder(h.shape[-1], s.last_layer(), s.body, s.widths[:1], s.activation)
        chain = end.layers[2:] if s.body == "conv" else end.layers  # it is a map already
        return keras.Model(given, parts.through(chain, h))
