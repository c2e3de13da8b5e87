"""Every recipe in every mode of Keras and TensorFlow: it trains on real digits, or is refused.

In the quick suite there are one recipe of each kind, each in a mode of its own.
"""

import contextlib
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from recipe_models import inputs, made

from tfp_vae import recipes
from tfp_vae.arguments import amounts


@contextlib.contextmanager
def policy(name):
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


@contextlib.contextmanager
def functions_eagerly():
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@contextlib.contextmanager
def one_replica():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        yield


def adam(**kwargs):
    return lambda: {"optimizer": keras.optimizers.Adam(1e-3, **kwargs)}


def scaled_adam():
    """At Keras' first scale of 2**15 a step is left out until the gradients are finite."""
    adam = keras.optimizers.Adam(1e-3)
    return {"optimizer": keras.optimizers.LossScaleOptimizer(adam, initial_scale=1.0)}


PLAIN = contextlib.nullcontext
# What the model is made and trained in, and what `compile` is given.
MODES = {
    "float64": (lambda: policy("float64"), adam()),
    "mixed_float16": (lambda: policy("mixed_float16"), scaled_adam),
    "mixed_bfloat16": (lambda: policy("mixed_bfloat16"), adam()),
    "functions eagerly": (functions_eagerly, adam()),
    "run_eagerly": (PLAIN, lambda: {**adam()(), "run_eagerly": True}),
    "XLA": (PLAIN, lambda: {**adam()(), "jit_compile": True}),
    "accumulation": (PLAIN, adam(gradient_accumulation_steps=2)),
    "moving averages": (PLAIN, adam(use_ema=True, ema_overwrite_frequency=2)),
    "clipping": (PLAIN, adam(global_clipnorm=1.0, weight_decay=1e-3)),
    "one replica": (one_replica, adam()),
}
SHOWN = {
    ("vae", "functions eagerly"),
    ("categorical_vae", "accumulation"),
    ("vq_vae", "one replica"),
    ("beta_tc_vae", "mixed_float16"),
}


def cases():
    for case in itertools.product(recipes.RECIPES, MODES):
        yield pytest.param(*case, marks=[] if case in SHOWN else [pytest.mark.again])


@pytest.mark.parametrize(("name", "mode"), list(cases()))
@pytest.mark.one
def test_a_recipe_in_a_mode(name, mode, x):
    context, options = MODES[mode]
    with context():
        vae = made(name)
        vae.compile(**options())
        data = inputs(vae, x)
        losses = vae.fit(data, batch_size=16, epochs=2, verbose=0).history["loss"]
        assert np.isfinite(losses).all()
        assert np.isfinite(vae.evaluate(data, batch_size=16, verbose=0)).all()
        together = getattr(vae.optimizer, "gradient_accumulation_steps", None) or 1
        assert amounts.number(vae.optimizer.iterations) == 8 // together
