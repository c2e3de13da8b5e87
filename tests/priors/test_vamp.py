"""The VampPrior: the encoder's own posteriors at trained pseudo-inputs."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from conftest import python, small_networks

from tfp_vae import IWAE, VAE, layers, priors
from tfp_vae.errors import InputError


def vae_of(x, **kwargs):
    keras.utils.set_random_seed(0)
    return VAE(*small_networks(regularized=False), prior=priors.VampPrior(x), **kwargs)


def test_its_density_is_the_mixture_of_the_posteriors_at_the_pseudo_inputs(x):
    vae = vae_of(x[:5])
    q = vae.encode(x[:5])
    z = np.random.default_rng(0).normal(size=[7, 2]).astype("float32")
    each = scipy.stats.norm(q.mean(), q.stddev()).logpdf(z[:, None]).sum(axis=-1)
    expected = scipy.special.logsumexp(each, axis=1) - np.log(5)
    np.testing.assert_allclose(vae.prior.distribution().log_prob(z), expected, rtol=1e-4)


def test_its_draws_come_from_the_pseudo_inputs(x):
    vae = vae_of(x[:5])
    q = vae.encode(x[:5])
    draws = vae.prior.distribution().sample(20_000, seed=(0, 0)).numpy()
    mean = q.mean().numpy().mean(axis=0)
    variance = (q.variance().numpy() + q.mean().numpy() ** 2).mean(axis=0) - mean**2
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=5 * np.sqrt(variance.max() / 20_000))
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.06)


def test_pseudo_inputs_and_encoder_get_gradients_and_stay_in_bounds(x):
    vae = vae_of(x[:5])
    assert len(vae.trainable_weights) == len({id(w) for w in vae.trainable_weights})
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(vae.prior.distribution().log_prob(tf.ones([3, 2])))
    encoder = vae.encoder.trainable_weights
    gradients = tape.gradient(loss, [vae.prior.pseudo_inputs, *encoder])
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
    vae.compile(keras.optimizers.Adam(0.5))
    before = vae.prior.pseudo_inputs.numpy()
    vae.fit(x, batch_size=16, epochs=2, verbose=0)
    assert (vae.prior.pseudo_inputs.numpy() != before).any()
    assert np.isfinite(vae.evaluate(x, verbose=0)).all()
    vae.prior.pseudo_inputs.assign(100.0 * vae.prior.pseudo_inputs)
    inside = vae.encode(np.clip(vae.prior.pseudo_inputs, 0, 1)).mean()
    found = vae.prior.distribution().components_distribution.mean()
    np.testing.assert_allclose(found, inside, rtol=1e-4, atol=1e-4)


@pytest.mark.again
def test_it_comes_nearer_to_the_posteriors_with_the_networks_frozen(x):
    vae = vae_of(8)
    vae.encoder.trainable = vae.decoder.trainable = False
    assert [w.path for w in vae.trainable_weights] == [vae.prior.pseudo_inputs.path]
    vae.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    history = vae.fit(x, batch_size=16, epochs=30, verbose=0).history["kl"]
    assert np.mean(history[-5:]) < np.mean(history[:2]) - 0.02


@pytest.mark.again  # with other recipes in test_recipes
def test_it_reloads_and_serves_in_a_fresh_process(x, tmp_path):
    vae = vae_of(x[:5], objective=IWAE(3))
    vae.compile("adam", jit_compile=False)
    vae.fit(x, epochs=2, verbose=0)
    vae.save(tmp_path / "m.keras")
    vae.export(tmp_path / "exported", verbose=False)
    np.savez(tmp_path / "known.npz", x=x, sample=vae.sample(4, seed=1),
             evaluate=vae.evaluate(x, verbose=0))  # fmt: skip
    code = f"""
import keras, numpy as np, tensorflow as tf, tfp_vae
known = np.load("{tmp_path}/known.npz")
vae = keras.models.load_model("{tmp_path}/m.keras", safe_mode=True)
np.testing.assert_array_equal(vae.sample(4, seed=1), known["sample"])
np.testing.assert_array_equal(vae.evaluate(known["x"], verbose=0), known["evaluate"])
assert vae.prior._ports().network is vae.encoder
served = tf.saved_model.load("{tmp_path}/exported")
assert served.sample(tf.constant(3)).shape == (3, 8, 8, 1)
print("same")
"""
    assert python(code).split() == ["same"]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: priors.VampPrior(0), "at least one"),
        (lambda: vae_of(np.zeros([3, 4, 4, 1])), r"input shape, \(3, 8, 8, 1\)"),
        (lambda: priors.VampPrior(3).distribution(), r"prior=VampPrior"),
        (
            lambda: layers.KLDivergenceRegularizer(priors.VampPrior(3))(
                layers.IndependentNormal(2)(tf.zeros([1, 4]))
            ),
            r"prior=VampPrior",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(use, message):
    with pytest.raises(InputError, match=rf"{message}.*Received"):
        use()
