"""Codes above other latent variables: a combination that nobody published."""

import keras
import latent_models
import numpy as np
import pytest
from latent_models import net

from tfp_vae import LatentModel, layers, objectives, priors


def top_down(objective):
    """Finite scalar codes above a Normal z, whose prior hands a state down."""
    top = {"top": (3,)}
    codes = layers.FiniteScalarQuantized(3, levels=(4, 3, 3))
    normal = layers.IndependentNormal
    return LatentModel(
        {
            "top": (net({"x": (6,)}, codes), None),
            "z": (
                net({"x": (6,), "state": (5,)}, normal(2)),
                net(top, normal(2), also={"state": 5}, name="z"),
            ),
        },
        {"x": net({"z": (2,), "state": (5,)}, layers.IndependentBernoulli(6))},
        objective=objective,
    )


@pytest.mark.parametrize(
    "objective", [objectives.IWAE(3), pytest.param(objectives.ELBO(), marks=pytest.mark.again)]
)
@pytest.mark.again
def test_codes_at_the_top_of_a_top_down_net_just_work(objective, tmp_path):
    values, _ = latent_models.data()
    model = top_down(objective)
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    history = model.fit(values, batch_size=32, epochs=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(history["kl_top"], np.log(36), rtol=1e-5)
    fitted = model.fit_prior(values, priors.AutoregressiveCodes(8), "top", epochs=2, verbose=0)
    forward = fitted.forward(values, 4, seed=(1, 2))
    top, z = forward["top"], forward["z"]
    by_hand = (
        forward["x"].log_p()
        + z.log_p()
        - z.log_q()
        + fitted.priors["top"].over_codes("float32").log_prob(top.q.codes)
    )
    np.testing.assert_allclose(forward.log_weights, by_hand, rtol=1e-4)
    fitted.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_array_equal(again.sample(5, seed=1)["x"], fitted.sample(5, seed=1)["x"])
