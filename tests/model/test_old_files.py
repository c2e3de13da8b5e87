"""Files that 0.1.0 saved load, answer what their weights say, and are trained further."""

import keras
import numpy as np
import pytest
import scipy.special
from conftest import ROOT

X = (np.random.default_rng(1).random([16, 6]) < 0.4).astype("float32")
C = np.eye(3, dtype="float32")[np.arange(16) % 3]
FILES = {"plain": X, "conditional": {"x": X, "c": C}}


@pytest.mark.parametrize("name", FILES)
def test_an_old_file_loads_and_goes_on(name):
    vae = keras.models.load_model(ROOT / "tests" / "model" / "saved" / f"{name}.keras")
    given = [X] if name == "plain" else [X, C]
    to_z, to_x = (net.get_weights() for net in (vae.encoder, vae.decoder))
    mean = (np.concatenate(given, axis=1) @ to_z[0] + to_z[1])[:, :2]
    np.testing.assert_allclose(vae.encode(FILES[name]).mean(), mean, rtol=1e-5, atol=1e-6)
    logits = np.concatenate([mean, *given[1:]], axis=1) @ to_x[0] + to_x[1]
    np.testing.assert_allclose(
        vae.reconstruct(FILES[name]), scipy.special.expit(logits), rtol=1e-5, atol=1e-6
    )
    assert int(vae.optimizer.iterations) == 8
    assert any(np.any(v.numpy()) for v in vae.optimizer.variables[2:])  # Adam's moments
    if name == "plain":
        assert vae.objective.beta == 0.5
    else:
        assert vae.objective.estimator == "dreg"
        assert vae.prior.distribution().components_distribution.batch_shape == [3]
    vae.fit(FILES[name], verbose=0)
    assert np.isfinite(vae.log_likelihood(FILES[name], 5)).all()
