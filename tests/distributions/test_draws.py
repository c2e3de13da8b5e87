"""What takes z for a draw from q(z|x) gets one, whatever tensor the layer stands for."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import VAE, layers, objectives, priors
from tfp_vae.errors import InputError
from tfp_vae.evaluation import estimates

tfd = tfp.distributions
LAPLACE = tfd.Independent(tfd.Laplace(tf.zeros(2), 1.0), 1)  # no closed form of the KL
NO_DRAWS = {
    "mean": "mean",
    "mode": "mode",
    "stddev": "stddev",
    "method": tfd.Distribution.mean,
    "method of a class": tfd.Normal.mode,
}


def networks(convert, make=layers.IndependentNormal):
    encoder = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(make.params_size(2)), make(2, convert)]
    )
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(4), layers.IndependentBernoulli(4)]
    )
    return encoder, decoder


@pytest.mark.parametrize("convert", NO_DRAWS.values(), ids=NO_DRAWS)
@pytest.mark.parametrize(
    "objective",
    [None, objectives.ELBO(0.5), objectives.IWAE(3), objectives.MMD(beta=1.0),
     objectives.BetaTC(10), objectives.DIP()],
    ids=lambda o: type(o).__name__,
)  # fmt: skip
def test_a_bound_at_the_mean_is_refused_in_words(convert, objective):
    with pytest.raises(
        InputError, match=r"z drawn from q.*convert_to_tensor_fn='sample'.*Received"
    ):
        VAE(*networks(convert), objective=objective)


def test_the_kl_of_the_encoder_is_no_way_around_it():
    encoder, decoder = networks("mean")
    add = layers.KLDivergenceAddLoss(priors.unit_normal(2))
    with pytest.raises(InputError, match="z drawn from q"):
        VAE(keras.Model(encoder.inputs, add(encoder.outputs[0])), decoder)


@pytest.mark.parametrize(
    "objective",
    [objectives.ELBO(0.0), objectives.MMD(), objectives.SlicedWasserstein(),
     objectives.RegularizedAE()],
    ids=lambda o: type(o).__name__,
)  # fmt: skip
@pytest.mark.one
def test_an_autoencoder_may_take_the_mean_and_has_no_kl(objective):
    vae = VAE(*networks("mean"), objective=objective, prior=LAPLACE)
    vae.compile("adam", jit_compile=False)
    x = np.ones([6, 4], "float32")
    assert set(vae.evaluate(x, verbose=0, return_dict=True)) == {"loss", "nll"}
    assert set(estimates.evaluate(vae, x)) == {"nll", "nll_error", "rows"}
    p = vae(x)
    np.testing.assert_allclose(p.latents.z[0], vae.encode(x).mean(), rtol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
def straight_through(q):
    return q.sample() + q.mean() - tf.stop_gradient(q.mean())


@pytest.mark.parametrize(
    ("convert", "make"),
    [("sample", layers.IndependentNormal), (straight_through, layers.IndependentNormal),
     (tfd.Distribution.sample, layers.IndependentNormal)],
)  # fmt: skip
def test_a_draw_and_a_function_of_the_users_are_kept(convert, make):
    vae = VAE(*networks(convert, make), prior=LAPLACE)
    vae.compile("adam", jit_compile=False)
    logs = vae.evaluate(np.ones([6, 4], "float32"), verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["nll"] + logs["kl"], rel=1e-5)


@pytest.mark.parametrize("convert", ["sample", "mean", "mode"])
def test_a_point_mass_says_the_same_however_it_is_converted(convert):
    vae = VAE(*networks(convert, layers.Deterministic), objective=objectives.MMD())
    assert not vae.has_density


def exact_kl_to_laplace(m, s):
    """E |z| is that of a folded Normal: KL = -H(q) + log 2 + E |z|, for each dimension."""
    folded = s * np.sqrt(2 / np.pi) * np.exp(-(m**2) / (2 * s**2)) + m * (
        1 - 2 * scipy.stats.norm.cdf(-m / s)
    )
    return (np.log(2) + folded - scipy.stats.norm(m, s).entropy()).sum(axis=-1)


@pytest.mark.parametrize("convert", ["sample", "mean", "mode", ("mean", "stddev")], ids=str)
@pytest.mark.parametrize("carrier", ["regularizer", "layer"])
def test_a_kl_by_monte_carlo_is_at_a_draw(carrier, convert):
    t = np.tile(np.float32([[0.5, -1.0, 0.0, 1.0]]), [20_000, 1])
    if carrier == "layer":
        layer = layers.KLDivergenceAddLoss(LAPLACE)
        layer(layers.IndependentNormal(2, convert, seed=0)(t))
    else:
        regularizer = layers.KLDivergenceRegularizer(LAPLACE)
        layer = layers.IndependentNormal(2, convert, activity_regularizer=regularizer, seed=0)
        layer(t)
    exact = exact_kl_to_laplace(np.array([0.5, -1.0]), np.logaddexp(0, [0.0, 1.0]))
    assert float(layer.losses[0]) == pytest.approx(exact, abs=0.03)  # 4 standard errors
