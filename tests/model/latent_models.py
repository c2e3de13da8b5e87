"""Models of several variables, one for each thing that such a model can be, small and quick."""

import keras
import numpy as np
import tensorflow as tf

from tfp_vae import LatentModel, layers, objectives

L = keras.layers
Normal = layers.IndependentNormal
Bernoulli = layers.IndependentBernoulli
SIZE, STEPS = 6, 5


def net(inputs, layer, hidden=16, also=None, name=None):
    """A network of vectors by name; `also`: a state, name and width, beside the distribution."""
    given = {
        n: keras.Input(shape, name=n, dtype="int32" if n == "label" else None)
        for n, shape in inputs.items()
    }
    flat = [L.CategoryEncoding(3, output_mode="one_hot")(t) if n == "label" else t
            for n, t in given.items()]  # fmt: skip
    h = L.Concatenate()(flat) if len(flat) > 1 else flat[0]
    h = L.Dense(hidden, "silu")(h)
    out = layer(L.Dense(layer.num_parameters)(h))
    if also is None:
        return keras.Model(given, out)
    (state, width), *_ = also.items()
    return keras.Model(given, {name: out, state: L.Dense(width)(h)})


X, LABEL = {"x": (SIZE,)}, {"label": ()}


def data(count=64):
    rng = np.random.default_rng(0)
    label = np.arange(count) % 3
    x = (rng.random([count, SIZE]) < 0.2 + 0.3 * label[:, None]).astype("float32")
    return {"x": x}, label.astype("int32")


def ladder(objective=None):
    features = keras.Input((SIZE,), name="x")
    h1 = L.Dense(8, "silu")(features)
    h2 = L.Dense(8, "silu")(h1)
    return LatentModel(
        {
            "z2": (net({"h2": (8,)}, Normal(2)), None),
            "z1": (net({"h1": (8,), "z2": (2,)}, Normal(3)), net({"z2": (2,)}, Normal(3))),
        },
        {"x": net({"z1": (3,)}, Bernoulli(SIZE))},
        features=keras.Model(features, {"h1": h1, "h2": h2}),
        objective=objective,
    )


def top_down(objective=None):
    def group(name, state, size, before):
        return net({before: (size,)}, Normal(2), also={state: 4}, name=name)

    return LatentModel(
        {
            "z3": (net(X, Normal(2)), None),
            "z2": (net({**X, "d2": (4,)}, Normal(2)), group("z2", "d2", 2, "z3")),
            "z1": (
                net({**X, "d1": (4,)}, Normal(2)),
                net({"d2": (4,), "z2": (2,)}, Normal(2), also={"d1": 4}, name="z1"),
            ),
        },
        {"x": net({"z1": (2,), "d1": (4,)}, Bernoulli(SIZE))},
        objective=objective,
    )


def conditional_prior(objective=None):
    return LatentModel(
        {"z": (net({**X, **LABEL}, Normal(2)), net(LABEL, Normal(2)))},
        {"x": net({"z": (2,), **LABEL}, Bernoulli(SIZE))},
        objective=objective,
    )


def half_known(objective=None):
    label = layers.RelaxedOneHotCategorical(3, 0.5)
    return LatentModel(
        {
            "y": (net(X, label), None),
            "z": (net({**X, "y": (3,)}, Normal(2)), None),
        },
        {"x": net({"z": (2,), "y": (3,)}, Bernoulli(SIZE))},
        objective=objective,
    )


def critic(objective=None):
    return LatentModel(
        {"z": (net(X, layers.Deterministic(2)), None)},
        {"x": net({"z": (2,)}, Bernoulli(SIZE))},
        objective=objective or objectives.Adversarial(),
    )


def sequence(objective=None):
    x, z = keras.Input((None, 2), name="x"), keras.Input((None, 3), name="z")
    h = L.GRU(8, return_sequences=True)(L.Masking()(x))
    q = Normal(3)(L.Dense(6)(h))
    p = Normal(2)(L.Dense(4)(L.GRU(8, return_sequences=True)(z)))
    return LatentModel(
        {"z": (keras.Model(x, q), None)}, {"x": keras.Model(z, p)}, objective=objective
    )


def two_observed(objective=None):
    return LatentModel(
        {"z": (net({**X, "w": (2,)}, Normal(2)), None)},
        {"x": net({"z": (2,)}, Bernoulli(SIZE)), "w": net({"z": (2,)}, Normal(2))},
        objective=objective,
    )


def given_to(make, count=64):
    """The data that a model of the table is trained on."""
    values, label = data(count)
    if make is conditional_prior:
        return {**values, "label": label}
    if make is half_known:
        y = np.eye(3, dtype="float32")[label]
        y[count // 2 :] = np.nan
        return {**values, "y": y}
    if make is sequence:
        steps = np.cumsum(np.random.default_rng(0).normal(size=[count, STEPS, 2]), 1)
        return {"x": steps.astype("float32")}
    if make is two_observed:
        w = np.random.default_rng(1).normal(size=[count, 2]).astype("float32")
        return {**values, "w": w + label[:, None].astype("float32")}
    return values


MODELS = [ladder, top_down, conditional_prior, half_known, critic, sequence, two_observed]


def sampled(model, make, count=4, **kwargs):
    """New values of a model of the table."""
    if make is conditional_prior:
        return model.sample(given={"label": np.arange(count) % 3}, **kwargs)
    return model.sample(count, length=STEPS if make is sequence else None, **kwargs)


def forward_of(model, make, samples=1, seed=(1, 2)):
    values = {name: tf.constant(value) for name, value in given_to(make, 8).items()}
    return model.forward(values, samples, seed=tf.constant(seed))
