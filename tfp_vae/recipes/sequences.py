"""Published models of sequences: x is `[steps, ...]`, of any number of steps where it is None.

Images are sequences of their rows. Steps of zeros at the end of a sequence of any length are
padding, and count nothing.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras

from tfp_vae import layers, schedules
from tfp_vae.errors import InputError
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.objectives import ELBO
from tfp_vae.recipes import parts
from tfp_vae.recipes.base import Setting, recipe

__all__: list[str] = []  # `RECIPES` has them

L = keras.layers
Normal = layers.IndependentNormal
CELLS = {"gru": L.GRU, "lstm": L.LSTM}


@recipe(
    "VRAE",
    "Fabius and van Amersfoort, arXiv:1412.6581",
    "one z for a whole series, drawn step by step",
    takes=("series",),
)
def recurrent_vae(s: Setting, cell: str = "gru") -> LatentModel:
    x = _sequence(s)
    before = layers.PreviousStep()(_rows(s, x))
    return _of_one_z(s, cell, _rows(s, seen := _sequence(s)), seen, x, before)


@recipe(
    "sentence VAE",
    "Bowman et al., arXiv:1511.06349",
    "tokens: a strong decoder that keeps its z in use",
    takes=("series", "tokens"),
)
def sentence_vae(s: Setting, rate: float = 0.25) -> LatentModel:
    # Token 0 is padding where the number of steps is open; without tokens words are vectors.
    seen, x = _sequence(s), _sequence(s)
    before = layers.WordDropout(rate)(layers.PreviousStep()(_words(s, x)))
    objective = ELBO(beta=schedules.warm_up(max(1, s.steps // 2)))
    return _of_one_z(s, "lstm", _words(s, seen), seen, x, before, objective)


@recipe(
    "VRNN",
    "Chung et al., arXiv:1506.02216",
    "series with a z at each step, whose prior knows the steps before",
    takes=("series",),
)
def vrnn(s: Setting) -> LatentModel:
    n, recurrent = s.latent_size, _rnn(s, "gru", True)  # prior, posterior and likelihood share it
    seen = _sequence(s)
    q = layers.RecurrentNormal(n, recurrent, hidden_units=[_units(s)])(_rows(s, seen))
    x, z, p = _sequence(s), keras.Input((s.shape[0], n), name="z"), Normal(n)
    h = recurrent(layers.PreviousStep()([_rows(s, x), z]))
    prior = p(L.Dense(p.num_parameters)(parts.hidden(s)(h)))
    given = {
        "z": keras.Input((s.shape[0], n), name="z"),
        "h": keras.Input((s.shape[0], _units(s)), name="h"),
        **parts.label(s),
    }
    # A sum keeps the mask of either; Keras' Concatenate takes what is not masked for all there.
    summed = [L.Dense(_units(s))(given[name]) for name in ("z", "h")]
    if "label" in given:
        of_label = L.Dense(_units(s))(parts.shown(s, {"label": given["label"]}))
        summed.append(L.Reshape((1, _units(s)))(of_label))
    both = L.Activation(s.activation)(L.Add()(summed))
    return LatentModel(
        {"z": (keras.Model(seen, q), keras.Model({"x": x, "z": z}, {"z": prior, "h": h}))},
        {"x": keras.Model(given, _of_each_step(s, both))},
        objective=s.chosen(),
    )


def _of_one_z(
    s: Setting,
    cell: str,
    shown: keras.KerasTensor,
    seen: keras.KerasTensor,
    x: keras.KerasTensor,
    before: keras.KerasTensor,
    objective: Any = None,
) -> LatentModel:
    """Returns the model of one z: q(z | all steps), and p(x_t | steps before, z).

    Args:
      s: the setting.
      cell: the kind of the recurrent layers.
      shown: what the encoder is shown of its input `seen`.
      seen: the encoder's x.
      x: the decoder's x.
      before: what the decoder is shown of the steps before.
      objective: the recipe's own.
    """
    q, z = Normal(s.latent_size), keras.Input((s.latent_size,), name="z")
    ours, theirs = parts.label(s), parts.label(s)
    posterior = q(L.Dense(q.num_parameters)(_beside(s, _rnn(s, cell)(shown), ours)))
    h = _rnn(s, cell, True)(before, initial_state=_first(s, cell, _beside(s, z, theirs)))
    if s.num_tokens:
        last: Any = layers.Categorical((), s.num_tokens)
        likelihood = last(L.Dense(last.num_parameters)(h))
    else:
        likelihood = _of_each_step(s, h)
    return LatentModel(
        {"z": (keras.Model({"x": seen, **ours}, posterior), None)},
        {"x": keras.Model({"z": z, "x": x, **theirs}, likelihood)},
        objective=s.chosen(objective),
    )


def _beside(s: Setting, h: keras.KerasTensor, given: Any) -> keras.KerasTensor:
    """Returns a vector, with the label beside it where there is one."""
    return L.Concatenate()([h, parts.shown(s, given)]) if given else h


def _sequence(s: Setting) -> keras.KerasTensor:
    """Returns the input of x: `[steps, ...]`, or `[steps]` of tokens."""
    if len(s.shape) < (1 if s.num_tokens else 2):
        raise InputError("Expected sequences, of shape (steps, ...).", s.shape)
    return keras.Input(s.shape, name="x", dtype="int32" if s.num_tokens else None)


def _rows(s: Setting, x: keras.KerasTensor) -> keras.KerasTensor:
    """Returns steps as vectors; where their number is open, zeros are hidden."""
    steps, *rest = s.shape
    if len(rest) != 1:
        x = L.Reshape((-1 if steps is None else steps, math.prod(rest)))(x)
    if steps is None:
        x = L.Masking()(x)
    first = s.first_layer()
    return x if first is None else first(x)


def _words(s: Setting, x: keras.KerasTensor) -> keras.KerasTensor:
    """Returns tokens as vectors; vectors as they are."""
    if s.num_tokens is None:
        return _rows(s, x)
    return L.Embedding(s.num_tokens, _units(s), mask_zero=s.shape[0] is None)(x)


def _units(s: Setting) -> int:
    return s.widths[-1] if s.widths else 64


def _rnn(s: Setting, cell: str, of_each_step: bool = False) -> keras.layers.Layer:
    """Returns a recurrent layer, as wide as the setting's last."""
    if cell not in CELLS:
        raise InputError(f"Expected cell to be one of {', '.join(CELLS)}.", cell)
    return CELLS[cell](_units(s), return_sequences=of_each_step)


def _first(s: Setting, cell: str, z: keras.KerasTensor) -> Any:
    """Returns the first state of a recurrent layer, of z."""
    states = [L.Dense(_units(s), activation="tanh")(z) for _ in range(2 if cell == "lstm" else 1)]
    return states if cell == "lstm" else states[0]


def _of_each_step(s: Setting, h: keras.KerasTensor) -> Any:
    """Returns p(x_t | h_t), independent over the steps."""
    last = dataclasses.replace(s, shape=tuple(s.shape[1:])).last_layer()
    return last(L.Dense(last.num_parameters)(h))
