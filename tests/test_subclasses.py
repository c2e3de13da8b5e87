"""Classes of users above this package's: with the names, the places and the configs they choose."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import InputError, layers, objectives

tfd = tfp.distributions

OBJECTIVES = {
    "ELBO": {"beta": 3.0},
    "IWAE": {"num_samples": 3},
    "CIWAE": {"num_samples": 3, "beta": 0.25},
    "MIWAE": {"num_samples_each": 2, "num_bounds": 3},
    "PIWAE": {"num_samples_each": 2, "num_bounds": 3},
    "MMD": {"weight": 3.0},
    "DIP": {"weight": 3.0, "kind": 2},
    "BetaTC": {"num_examples": 9, "gamma": 2.0},
    "SlicedWasserstein": {"weight": 3.0},
    "RegularizedAE": {"l2": 0.5},
    "Adversarial": {"weight": 3.0, "beta": 0.5},
}


@pytest.mark.parametrize("says_own", [True, False], ids=["get_config", "none"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_above_ours_keeps_all_arguments(name, says_own):
    base = getattr(objectives, name)
    given = OBJECTIVES[name]

    class Above(base):
        def __init__(self, extra=1.0, **kwargs):
            super().__init__(**kwargs)
            self.extra = extra

    if says_own:
        Above.get_config = lambda self: {**base.get_config(self), "extra": self.extra}
    made = Above(2.0, **given)
    again = Above.from_config(copy.deepcopy(made).get_config())
    assert again.extra == 2.0
    assert {key: getattr(again, key) for key in given} == given


def test_what_a_constructor_makes_of_an_argument_is_made_once():
    class Scaled(objectives.ELBO):
        def __init__(self, beta=2.0, factor=1.0):
            super().__init__(beta=beta * factor)

    assert Scaled.from_config(Scaled(2.0, factor=3.0).get_config()).beta == 6.0


def test_what_no_file_holds_is_refused_by_the_name_of_the_argument():
    class Weighted(objectives.ELBO):
        def __init__(self, how=tf.square, *others):
            super().__init__()

    assert Weighted().get_config() == {}
    with pytest.raises(InputError, match=r"Expected how of Weighted .*get_config"):
        Weighted(tf.square).get_config()
    with pytest.raises(InputError, match=r"Weighted to have a get_config.*\*others"):
        Weighted(1.0, 2.0).get_config()


def _poisson(cls, params, shape=(), validate=False, name=None):
    return layers.IndependentPoisson.new(params, shape, validate, name)


def _normal(params, event_shape=(), validate_args=False, name=None):  # as tfp.layers has it
    return layers.IndependentNormal.new(params, event_shape, validate_args, name, 0.5)


def _tril(params, size, check=False, name=None):
    return layers.MultivariateNormalTriL.new(params, size, check, name)


def _one_hot(params, size, kind=None, check=False, name=None):
    return layers.OneHotCategorical.new(params, size, kind, check, name)


def _mixture(params, count, shape=(), check=False, name=None):
    return layers.MixtureNormal.new(params, count, shape, check, name)


NAMES_OF_THEIR_OWN = {
    "a class method": (layers.IndependentPoisson, (4,), 4, {"new": classmethod(_poisson)}),
    "without our option": (layers.IndependentNormal, (2,), 4, {"new": staticmethod(_normal)}),
    "a matrix": (layers.MultivariateNormalTriL, (2,), 5, {"new": staticmethod(_tril)}),
    "a dtype": (layers.OneHotCategorical, (4,), 4, {"new": staticmethod(_one_hot)}),
    "components": (layers.MixtureNormal, (2, 1), 6, {"new": staticmethod(_mixture)}),
    "params_size": (
        layers.IndependentPoisson, (4,), 4, {"params_size": staticmethod(lambda shape: 4)}
    ),
    "each": (
        layers.IndependentPoisson, (4,), 4,
        {"each": staticmethod(lambda rate, check: tfd.Poisson(log_rate=rate))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES_OF_THEIR_OWN)
def test_methods_of_users_have_the_names_they_choose(case):
    base, arguments, size, methods = NAMES_OF_THEIR_OWN[case]
    t = np.random.default_rng(0).normal(size=[3, size]).astype("float32")
    layer = type("Above", (base,), methods)(*arguments)
    assert layer.num_parameters == size
    found, expected = layer(t), base(*arguments)(t)
    assert found.event_shape == expected.event_shape
    if case != "without our option":
        np.testing.assert_allclose(found.mean(), expected.mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "more"),
    [(layers.IndependentNormal, (0.5,)), (layers.StudentT, (0.5,)), (layers.Gamma, (0.5, 0.25)),
     (layers.NegativeBinomial, (0.5,)), (layers.ZeroInflatedNegativeBinomial, (0.5,))],
)  # fmt: skip
def test_new_takes_what_a_layer_is_made_of_by_place(layer, more):
    t = keras.ops.zeros([3, layer.params_size(2)])
    assert layer.new(t, 2, False, "named", *more).event_shape == [2]
