"""Long services: no draw comes twice among threads, no size is traced or compiled anew."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from conftest import small_networks

from tfp_vae import VAE, layers, networks
from tfp_vae.bridge import random_state
from tfp_vae.model import importance

ZEROS = np.zeros([4, 8, 8, 1], "float32")


@pytest.fixture(scope="module")
def vae():
    return VAE(*small_networks())


@pytest.fixture(scope="module")
def served(vae, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    vae.export(folder / "model")
    return tf.saved_model.load(str(folder / "model"))


DRAWS = {
    "sample": lambda vae, served: vae.sample(1),
    "draws of a posterior": lambda vae, served: vae.encode(ZEROS).sample(),
    "a call": lambda vae, served: vae(ZEROS).latents.z,
    "log-likelihood": lambda vae, served: vae.log_likelihood(ZEROS, 3),
    "sample of a SavedModel": lambda vae, served: served.sample(tf.constant(1)),
    "log-likelihood of a SavedModel": lambda v, served: served.log_likelihood(
        ZEROS, tf.constant(3)
    ),
}


@pytest.mark.one
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_no_draw_comes_twice_among_threads(vae, served, draw):
    draw(vae, served)  # traced by one
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda _: draw(vae, served).numpy().tobytes(), range(160)))
    assert len(set(drawn)) == 160


def test_xla_compiles_what_a_saved_model_draws(served):
    draw = tf.function(lambda: served.sample(tf.constant(3)), jit_compile=True)
    assert len({draw().numpy().tobytes() for _ in range(3)}) == 3


def test_a_seed_is_read_and_moved_on_by_one_thread(vae, monkeypatch):
    """A second thread that comes in between waits, however long the first takes."""
    started, reads = threading.Event(), []
    following = vae.seed_generator.next

    def slowly(*args):
        started.set()
        reads.append(following(*args).numpy().tolist())
        return following.__self__.state.value

    monkeypatch.setattr(vae.seed_generator, "next", slowly)
    with random_state._ONE_AT_A_TIME:
        second = threading.Thread(target=vae.next_seed)
        second.start()
        assert not started.wait(0.2)
    second.join()
    assert len(reads) == 1


def test_one_trace_of_the_log_likelihood_for_all_sizes(vae):
    for count in (1, 2):
        vae.log_likelihood(ZEROS[:count], 2)
    before = vae.log_likelihood_batch.experimental_get_tracing_count()
    for count in (3, 5, 7, 11):
        vae.log_likelihood(np.zeros([count, 8, 8, 1], "float32"), count, batch_size=5)
    assert vae.log_likelihood_batch.experimental_get_tracing_count() == before


@pytest.mark.one
@pytest.mark.parametrize(
    ("count", "batch", "sizes"), [(1, 8, [1]), (5, 8, [8]), (8, 8, [8]), (21, 8, [8, 8, 8]),
                                  (11, 6, [6, 6]), (3, 256, [4]), (130, 256, [256])]
)  # fmt: skip
def test_xla_meets_few_sizes(count, batch, sizes):
    seen = []
    x = np.arange(count, dtype="float32")[:, np.newaxis]

    def run(data, samples, seed):
        seen.append(len(data[0]))
        return data[0][:, 0] + data[1]["a"] * seed

    data = (x, {"a": np.ones(count, "float32")})
    found = importance.estimate(run, data, 1, batch, lambda: tf.constant(0.5), few_sizes=True)
    assert seen == sizes
    np.testing.assert_allclose(found, x[:, 0] + 0.5)


def test_filled_batches_estimate_the_same():
    """Of a model whose log p(x) is known: z takes no part, in either compiler's batches."""
    encoder = networks.encoder((3,), layers.IndependentNormal(2), widths=())
    decoder = networks.decoder(2, layers.IndependentBernoulli(3), widths=())
    for weight in decoder.weights:
        weight.assign(np.full(weight.shape, 0.0))
    vae = VAE(encoder, decoder)
    encoder.layers[-2].kernel.assign(np.zeros([3, 4]))
    encoder.layers[-2].bias.assign([0.0, 0.0, np.log(np.e - 1), np.log(np.e - 1)])
    x = np.random.default_rng(0).integers(0, 2, [5, 3]).astype("float32")
    for draws in (7, 40_000):  # plain, and compiled by XLA
        np.testing.assert_allclose(vae.log_likelihood(x, draws), [-3 * np.log(2)] * 5, rtol=1e-4)


def test_a_saved_model_says_what_is_wrong(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected num_samples >= 1"):
        served.log_likelihood(ZEROS, tf.constant(0))


def test_first_calls_wait_for_each_other():
    """TensorFlow crashes now and then where threads give it new types at once."""
    from tfp_vae.bridge.first_calls import first_alone

    class Model:
        now, most = 0, 0

        @first_alone
        def sample(self, wait):
            Model.now += 1
            Model.most = max(Model.most, Model.now)
            time.sleep(wait)
            Model.now -= 1
            return wait

    models = [Model() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda model: model.sample(0.01), models)) == [0.01] * 8
    assert Model.most == 1
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda model: model.sample(0.05), models))
    assert Model.most > 1
