"""Codes that are drawn by level: their probabilities, draws, gradient and KL, by NumPy."""

import itertools

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae.distributions.categorical import Categories
from tfp_vae.distributions.code_space import Table, Tables
from tfp_vae.distributions.codes import CodeVectors
from tfp_vae.distributions.divergence import kl_divergence
from tfp_vae.distributions.soft_codes import SoftCodes

tfd = tfp.distributions
K, DEPTH, D = 4, 3, 2
RNG = np.random.default_rng(0)
TABLES = RNG.normal(size=[DEPTH, K, D])
T = RNG.normal(size=[2, 1, D])  # a batch of two, one position


def soft(t=T, temperature=0.7, tables=TABLES):
    return SoftCodes(tf.constant(t), [tf.constant(e) for e in tables], 3, temperature)


def log_of_levels(t, codes):
    """log q(k | codes before) of each level, `[depth, K]`."""
    rest, found = t, []
    for table, k in zip(TABLES, codes, strict=True):
        found.append(scipy.special.log_softmax(-np.sum((rest - table) ** 2, axis=-1)))
        rest = rest - table[k]
    return np.stack(found)


def every():
    return list(itertools.product(range(K), repeat=DEPTH))


def exact(t):
    """log q of each of all codes."""
    return np.array([
        sum(each[k] for each, k in zip(log_of_levels(t, codes), codes, strict=True))
        for codes in every()
    ])  # fmt: skip


def vectors(codes):
    return np.stack([table[k] for table, k in zip(TABLES, codes, strict=True)])[np.newaxis]


def test_the_probabilities_are_softmaxes_of_distances_level_by_level():
    z = np.stack([vectors(codes) for codes in every()])[:, np.newaxis]
    found = soft().log_prob(tf.constant(z)).numpy()  # [codes, batch]
    for i in range(2):
        np.testing.assert_allclose(found[:, i], exact(T[i, 0]), rtol=1e-8)
        assert np.exp(found[:, i]).sum() == pytest.approx(1)


def test_draws_occur_as_often_and_the_mode_is_nearest_at_each_level():
    q = soft()
    n = 40_000
    codes = q.space.codes(q.sample(n, seed=(1, 2))).numpy()[:, :, 0]
    numbers = codes @ K ** np.arange(DEPTH)[::-1]
    for i in range(2):
        share = np.exp(exact(T[i, 0]))
        found = np.bincount(numbers[:, i], minlength=K**DEPTH) / n
        assert np.all(np.abs(found - share) < 5 * np.sqrt(share / n) + 1e-4)
        rest = T[i, 0]
        for level, k in enumerate(q.codes.numpy()[i, 0]):
            assert k == np.argmin(np.sum((rest - TABLES[level]) ** 2, axis=-1))
            rest = rest - TABLES[level][k]
    np.testing.assert_array_equal(q.space.vectors(q.codes), q.mode())
    np.testing.assert_array_equal(q[1:].codes, q.codes[1:])


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_gradient_of_a_draw_is_that_of_the_relaxed_one(temperature):
    """Of one level: `dz/dt = 2 / T cov(e)`, e by the softmax with noise."""
    t, table = tf.constant(T), tf.constant(TABLES[0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(t)
        z = SoftCodes(t, [table], 3, temperature).sample(seed=(1, 2))
    jacobian = tape.jacobian(z, t, experimental_use_pfor=False).numpy()
    seed = tf.unstack(tfp.random.split_seed((1, 2), n=1, salt="SoftCodes"))[0]
    uniform = tf.random.stateless_uniform([1, 2, 1, K], seed, 1e-30, 1, tf.float64).numpy()
    noise = -np.log(-np.log(uniform[0]))
    for i in range(2):
        logits = -np.sum((T[i] - TABLES[0]) ** 2, axis=-1) + noise[i, 0]
        np.testing.assert_array_equal(z[i, 0, 0], TABLES[0][np.argmax(logits)])
        p = scipy.special.softmax(logits / temperature)
        mean = p @ TABLES[0]
        covariance = (p * (TABLES[0] - mean).T) @ (TABLES[0] - mean)
        found = jacobian[i, 0, 0, :, i, 0]
        np.testing.assert_allclose(found, 2 / temperature * covariance, rtol=1e-7)


def test_the_kl_is_of_each_level_given_those_drawn_and_its_mean_the_kl_of_all_codes():
    q = soft()
    logits = RNG.normal(size=[1, DEPTH, K])
    space = Tables([Table(tf.constant(table)) for table in TABLES])
    p = CodeVectors(tfd.Independent(Categories(tf.constant(logits)), 2), space)
    z = q.sample(20_000, seed=(3, 4))
    found = kl_divergence(q, p, lambda: z).numpy()
    log_p = scipy.special.log_softmax(logits[0], axis=-1)
    codes = q.space.codes(z[0]).numpy()[:, 0]
    for i in range(2):
        levels = log_of_levels(T[i, 0], codes[i])
        assert found[0, i] == pytest.approx(np.sum(np.exp(levels) * (levels - log_p)))
        log_q = exact(T[i, 0])
        of_codes = [sum(log_p[level, k] for level, k in enumerate(each)) for each in every()]
        total = np.sum(np.exp(log_q) * (log_q - of_codes))
        error = 4.5 * found[:, i].std() / len(found) ** 0.5
        assert found[:, i].mean() == pytest.approx(total, abs=error)
