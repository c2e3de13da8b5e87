"""Where tf_keras is installed: the same parameters give what `tfp.layers` gives."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers

pytest.importorskip("tf_keras", reason="tfp.layers needs tf_keras")
tfpl = tfp.layers

CASES = [
    ("IndependentNormal", (3,)),
    ("IndependentNormal", (2, 2)),
    ("IndependentNormal", ()),
    ("IndependentBernoulli", (4,)),
    ("IndependentBernoulli", (2, 2, 1)),
]


@pytest.mark.parametrize(("name", "event_shape"), CASES)
def test_parameters_and_densities_are_those_of_tfp_layers(name, event_shape):
    ours, theirs = getattr(layers, name), getattr(tfpl, name)
    size = ours.params_size(event_shape)
    assert size == theirs.params_size(event_shape)
    t = np.random.default_rng(0).normal(scale=3.0, size=(6, size)).astype("float32")
    mine, reference = ours(event_shape)(t), theirs(event_shape)(tf.constant(t))
    np.testing.assert_array_equal(mine.mean(), reference.mean())
    np.testing.assert_array_equal(mine.stddev(), reference.stddev())
    draw = reference.sample(seed=1)
    np.testing.assert_array_equal(mine.log_prob(draw), reference.log_prob(draw))
    np.testing.assert_array_equal(ours.new(t, event_shape).mean(), reference.mean())


def test_the_kl_term_is_half_of_what_tfp_layers_counts_twice():
    prior = tfp.distributions.Independent(tfp.distributions.Normal(tf.zeros(3), 1.0), 1)
    t = np.random.default_rng(0).normal(size=(6, 6)).astype("float32")
    theirs = tfpl.IndependentNormal(
        3, activity_regularizer=tfpl.KLDivergenceRegularizer(prior, use_exact_kl=True)
    )
    ours = layers.IndependentNormal(
        3, activity_regularizer=layers.KLDivergenceRegularizer(prior, use_exact_kl=True)
    )
    theirs(tf.constant(t))
    ours(t)
    assert len(ours.losses) == 1
    np.testing.assert_allclose(sum(theirs.losses), 2 * ours.losses[0], rtol=1e-6)
