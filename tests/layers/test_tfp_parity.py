"""Where tf_keras is installed: the same parameters give what `tfp.layers` gives."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers

pytest.importorskip("tf_keras", reason="tfp.layers needs tf_keras")
tfpl = tfp.layers

CASES = {
    "normal": ("IndependentNormal", ((3,),)),
    "normal-matrix": ("IndependentNormal", ((2, 2),)),
    "normal-scalar": ("IndependentNormal", ((),)),
    "bernoulli": ("IndependentBernoulli", ((4,),)),
    "bernoulli-image": ("IndependentBernoulli", ((2, 2, 1),)),
    "logistic": ("IndependentLogistic", ((3,),)),
    "poisson": ("IndependentPoisson", ((2, 2),)),
    "tril": ("MultivariateNormalTriL", (3,)),
    "one-hot": ("OneHotCategorical", (4,)),
    "one-hot-mixture": ("CategoricalMixtureOfOneHotCategorical", (4, 3)),
    "mixture-normal": ("MixtureNormal", (3, (2,))),
    "mixture-logistic": ("MixtureLogistic", (3, (2,))),
}


@pytest.mark.parametrize(("name", "arguments"), CASES.values(), ids=CASES.keys())
def test_parameters_and_densities_are_those_of_tfp_layers(name, arguments):
    ours, theirs = getattr(layers, name), getattr(tfpl, name)
    size = ours.params_size(*arguments)
    assert size == theirs.params_size(*arguments)
    t = np.random.default_rng(0).normal(size=(6, size)).astype("float32")
    mine, reference = ours(*arguments)(t), theirs(*arguments)(tf.constant(t))
    equal = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    equal(mine.mean(), reference.mean())
    if name != "OneHotCategorical":
        equal(mine.stddev(), reference.stddev())
    draw = reference.sample(seed=1)
    np.testing.assert_allclose(mine.log_prob(draw), reference.log_prob(draw), rtol=2e-6, atol=1e-6)
    equal(ours.new(t, *arguments).mean(), reference.mean())
    if hasattr(reference, "log_mean"):
        equal(mine.log_mean(), reference.log_mean())
        equal(ours(*arguments, "mean")(t).numpy(), reference.mean())
        equal(ours(*arguments, lambda d: d.log_mean())(t).numpy(), reference.log_mean())


def test_a_mixture_of_any_layer_is_that_of_tfp_layers():
    t = np.random.default_rng(0).normal(size=(6, 3 * (1 + 4))).astype("float32")
    mine = layers.MixtureSameFamily(3, layers.IndependentNormal(2))(t)
    reference = tfpl.MixtureSameFamily(3, tfpl.IndependentNormal(2))(tf.constant(t))
    draw = reference.sample(seed=1)
    np.testing.assert_allclose(mine.log_prob(draw), reference.log_prob(draw), rtol=2e-6, atol=1e-6)


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
