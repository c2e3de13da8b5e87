"""VQ-VAE-2: codes of the whole above codes of the details, and a prior of each level."""

from __future__ import annotations

from typing import Any

import keras

from tfp_vae import layers, networks, priors
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.recipes import parts
from tfp_vae.recipes.base import Setting, recipe

__all__: list[str] = []  # `RECIPES` has them

_CODES, _DIMENSION = 64, 8  # for small images; the paper has 512 codes of dimension 64


def _after(s: Setting) -> dict[str, Any]:
    """The prior of the top, and that of the bottom given the top, from the model."""
    del s
    return {"top": priors.AutoregressiveCodes(), "bottom": _bottom_given_top}


def _bottom_given_top(model: LatentModel) -> keras.Model:
    shapes: dict[str, Any] = {name: q.shape for name, q in model.graph.posteriors.items()}
    top = keras.Input(shapes["top"], name="top")
    last = priors.ConditionalCodes(shapes["bottom"], _CODES)
    h = keras.layers.Dense(128, "relu")(keras.layers.Flatten()(top))
    return keras.Model({"top": top}, last(keras.layers.Dense(last.num_parameters)(h)))


@recipe(
    "VQ-VAE-2",
    "Razavi et al., arXiv:1906.00446",
    "images: codes of the whole, and codes of the details given these",
    prior_after=_after,
)
def vq_vae_2(s: Setting) -> LatentModel:
    net = _Maps(s) if s.body == "conv" else _Vectors(s)
    latents = {"top": (net.top(), None), "bottom": (net.bottom(), None)}
    return LatentModel(
        latents, {"x": net.likelihood()}, features=net.features(), objective=s.chosen()
    )


def _quantized(positions: tuple[int, ...]) -> layers.VectorQuantized:
    return layers.VectorQuantized((*positions, _DIMENSION), num_codes=_CODES)


class _Vectors:
    """The networks of an mlp body: half as many positions at the top as at the bottom."""

    def __init__(self, s: Setting) -> None:
        self.s = s
        self.positions = {"top": (max(1, s.latent_size // 2),), "bottom": (s.latent_size,)}

    def _input(self, name: str) -> keras.KerasTensor:
        return keras.Input((*self.positions[name], _DIMENSION), name=name)

    def features(self) -> keras.Model:
        """Returns the network from x to what the posteriors are told."""
        given = parts.data(self.s)
        h = parts.shown(self.s, given)
        return keras.Model(given, {"h_of_bottom": h, "h_of_top": parts.hidden(self.s)(h)})

    def _told(self, name: str) -> keras.KerasTensor:
        size = parts.hidden(self.s).units
        if name == "bottom":
            size += self.s.num_classes or 0
        return keras.Input((size,), name=f"h_of_{name}")

    def _ends(self, name: str, given: list[Any]) -> keras.Model:
        q = _quantized(self.positions[name])
        flat = [keras.layers.Flatten()(one) for one in given]
        h = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
        h = keras.layers.Dense(q.num_parameters)(parts.hidden(self.s)(h))
        return keras.Model({one.name: one for one in given}, q(h))

    def top(self) -> keras.Model:
        """Returns q(top | x)."""
        return self._ends("top", [self._told("top")])

    def bottom(self) -> keras.Model:
        """Returns q(bottom | x, top)."""
        return self._ends("bottom", [self._told("bottom"), self._input("top")])

    def likelihood(self) -> keras.Model:
        """Returns p(x | top, bottom)."""
        given = {name: self._input(name) for name in self.positions} | parts.label(self.s)
        flat = {
            name: t if name == "label" else keras.layers.Flatten()(t) for name, t in given.items()
        }
        h = parts.shown(self.s, flat)
        return keras.Model(given, parts.through(parts.ending(self.s, h.shape[-1]), h))


class _Maps(_Vectors):
    """The networks of a conv body: a code at each place of a map, above of one half as high."""

    def __init__(self, s: Setting) -> None:
        super().__init__(s)
        self.body = parts.trunk(s)[:-1]  # without Flatten
        self.shape = tuple(self.body[-1].output.shape[1:])
        self.halved = keras.layers.Conv2D(
            self.shape[-1], 3, 2, padding="same", activation=s.activation
        )
        smaller = self.halved.compute_output_shape((None, *self.shape))[1:]
        self.shapes = {"top": smaller, "bottom": self.shape}
        self.positions = {name: tuple(shape[:2]) for name, shape in self.shapes.items()}

    def features(self) -> keras.Model:
        given = parts.data(self.s)
        h = self._with_label(parts.through(self.body, given["x"]), given)
        return keras.Model(given, {"h_of_bottom": h, "h_of_top": self.halved(h)})

    def _with_label(
        self, h: keras.KerasTensor, given: dict[str, keras.KerasTensor]
    ) -> keras.KerasTensor:
        if "label" not in given:
            return h
        shown = parts.shown(self.s, {"label": given["label"]})
        each = keras.layers.Reshape((1, 1, h.shape[-1]))(keras.layers.Dense(h.shape[-1])(shown))
        return keras.layers.Add()([h, each])

    def _told(self, name: str) -> keras.KerasTensor:
        return keras.Input(self.shapes[name], name=f"h_of_{name}")

    def _ends(self, name: str, given: list[Any]) -> keras.Model:
        q = _quantized(self.positions[name])
        h = keras.layers.Conv2D(_DIMENSION, 1)(self._joined(given))
        return keras.Model({one.name: one for one in given}, q(keras.layers.Flatten()(h)))

    def _joined(self, given: list[Any]) -> keras.KerasTensor:
        """Returns one map of several, those of the top twice as high and cropped."""
        rows, columns = given[-1].shape[1:3] if len(given) == 1 else self.shape[:2]
        found = []
        for one in given:
            if one.shape[1:3] != (rows, columns):
                one = keras.layers.UpSampling2D(2)(one)
                over = ((0, one.shape[1] - rows), (0, one.shape[2] - columns))
                one = keras.layers.Cropping2D(over)(one)
            found.append(one)
        h = keras.layers.Concatenate()(found) if len(found) > 1 else found[0]
        channels = self.shape[-1]
        return keras.layers.Conv2D(channels, 3, padding="same", activation=self.s.activation)(h)

    def likelihood(self) -> keras.Model:
        s = self.s
        given = {name: self._input(name) for name in self.positions} | parts.label(s)
        h = self._with_label(self._joined([given["top"], given["bottom"]]), given)
        end = networks.decoder(h.shape[-1], s.last_layer(), s.body, s.widths, s.activation)
        return keras.Model(given, parts.through(end.layers[2:], h))  # it is a map already
