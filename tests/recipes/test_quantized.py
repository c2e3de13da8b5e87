"""What the recipes of codes are beside what all recipes are: levels, priors, codes in use."""

import keras
import numpy as np
import pytest
from recipe_models import inputs, made

from tfp_vae import layers, recipes
from tfp_vae.evaluation.codes import use_of_codes
from tfp_vae.model import main_variable
from tfp_vae.recipes.base import priors_after

AGAIN = pytest.mark.again
CODED = [
    "rq_vae",
    "vq_vae_2",
    *(pytest.param(n, marks=AGAIN) for n in ("vq_vae", "hrq_vae", "fsq_vae", "lfq_vae")),
]


@pytest.mark.parametrize(
    ("name", "labelled"),
    [
        ("hrq_vae", True),
        ("rq_vae", False),
        pytest.param("hrq_vae", False, marks=AGAIN),
        pytest.param("rq_vae", True, marks=AGAIN),
    ],
)
def test_the_decoder_takes_the_sum_of_the_levels(name, labelled):
    vae = made(name, labelled=labelled)
    z = np.random.default_rng(0).normal(size=[3, *vae.posterior_layer.event_shape])
    given = {"conditions": np.arange(3)} if labelled else {}
    expected = vae.decode(z, **given).mean()
    other = np.concatenate([z[:, :, :1] + z[:, :, 1:2], 0 * z[:, :, 1:2], z[:, :, 2:]], axis=2)
    np.testing.assert_allclose(vae.decode(other, **given).mean(), expected, rtol=1e-4)
    assert sum(isinstance(one, layers.SumOfLevels) for one in vae.decoder.layers) == 1


@pytest.mark.parametrize("name", CODED)
@pytest.mark.again
def test_the_priors_that_come_afterwards_generate(name, x):
    """Of each model on digits; the prior's probabilities are those of the codes that are drawn."""
    model = made(name)
    data = inputs(model, x)
    setting = recipes.Setting((8, 8, 1), len(x), latent_size=3)
    for latent, prior in priors_after(recipes.find(name), model, setting).items():
        before = model.graph.priors[latent].layer or model.graph.priors[latent].prior
        model = model.fit_prior(data, prior, latent=latent, epochs=1, verbose=0, seed=0)
        after = model.graph.priors[latent].layer or model.graph.priors[latent].prior
        assert type(after) is not type(before)
    assert main_variable.sampled(model, 4, seed=1).shape == (4, 8, 8, 1)
    assert np.isfinite(model.log_likelihood(data)).all()


@pytest.mark.again
@pytest.mark.parametrize("labelled", [pytest.param(False, marks=AGAIN), True])
@pytest.mark.parametrize("shape", [(13, 9, 3), pytest.param((28, 20, 1), marks=AGAIN)], ids=str)
def test_two_levels_of_maps_suit_images_of_any_size(shape, labelled):
    model = made("vq_vae_2", labelled, body="conv", widths=(4, 6), shape=shape)
    rows, columns = (-(-size // 4) for size in shape[:2])
    shapes = {name: q.shape for name, q in model.graph.posteriors.items()}
    top = (-(-rows // 2), -(-columns // 2), 8)
    assert shapes == {"top": top, "bottom": (rows, columns, 8)}
    x = np.random.default_rng(0).random([2, *shape]).round().astype("float32")
    data = inputs(model, x)
    assert main_variable.reconstructed(model, data).shape == x.shape
    model.compile("adam", jit_compile=False)
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("name", CODED)
def test_the_codes_in_use_are_counted_over_all_batches(name, x):
    model = made(name)
    found = use_of_codes(model, [inputs(model, x[:20]), inputs(model, x[20:50])])
    posteriors = model.forward(inputs(model, x[:50])).latent
    for latent, term in posteriors.items():
        codes = term.q.codes.numpy()
        depth = term.q.space.depth
        each = codes.reshape(-1, depth).T
        used = np.mean([len(np.unique(level)) for level in each])
        shares = [np.unique(level, return_counts=True)[1] / len(level) for level in each]
        entropy = np.mean([-(p * np.log(p)).sum() for p in shares])
        after = f"_{latent}" if len(posteriors) > 1 else ""
        assert found[f"codes_used{after}"] == used
        assert found[f"num_codes{after}"] == term.q.space.num_codes
        np.testing.assert_allclose(found[f"perplexity{after}"], np.exp(entropy), rtol=1e-5)


def test_models_without_codes_use_none(x):
    assert use_of_codes(made("vae"), [x[:5]]) == {}


@pytest.mark.again
def test_fit_reports_the_mean_perplexity_of_the_batches(x):
    vae = made("fsq_vae")
    vae.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    history = vae.fit(x[:64], batch_size=32, shuffle=False, verbose=0, validation_data=x[:32])
    each = [float(vae.encode(x[i : i + 32]).perplexity()) for i in (0, 32)]
    np.testing.assert_allclose(history.history["perplexity"], np.mean(each), rtol=1e-5)
    np.testing.assert_allclose(history.history["val_perplexity"], each[0], rtol=1e-5)
