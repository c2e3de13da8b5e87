"""The matrix products of the perceptron and nothing else: what TensorFlow's own (oneDNN) take."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from benchmarks.work import Work

Weights = list[tf.Variable]


def mlp(work: Work) -> None:
    """Of training: forward, and backward to the inputs and to the weights."""
    _train(work)


def iwae(work: Work) -> None:
    """The same, with the decoder's of all samples."""
    _train(work, work.num_samples)


def likelihood(work: Work) -> None:
    """Of the decoder, forward, some thousand rows at a time."""
    _, decoder = _weights(work)
    rows = len(work.test) * work.num_samples
    chunk = min(5000, rows)
    z = tf.random.normal([2 * chunk, work.latent_size])

    @tf.function(jit_compile=False)
    def run() -> tf.Tensor:
        logits = tf.zeros([chunk, 784])
        for i in tf.range(-(-rows // chunk)):  # another z each time, so that none can be kept
            part = tf.slice(z, [i % chunk, 0], [chunk, work.latent_size])
            logits = _forward(part, decoder)[-1]
        return logits

    work.repeat(lambda: run().numpy(), 1)


def _train(work: Work, num_samples: int = 1) -> None:
    encoder, decoder = _weights(work)
    x = tf.constant(work.train.reshape(-1, 784).astype(np.float32) / 255)
    size, latent_size = work.batch_size, work.latent_size

    @tf.function(jit_compile=False)
    def epoch() -> list[tf.Tensor]:
        gradients = [tf.zeros_like(w) for w in encoder + decoder]
        for i in tf.range(len(x) // size):
            up = _forward(x[i * size : (i + 1) * size], encoder)
            down = _forward(tf.repeat(up[-1][:, :latent_size], num_samples, 0), decoder)
            # Of the right shapes: no loss is taken.
            of_decoder, dz = _backward(down, decoder, to_input=True)
            dz = tf.reduce_sum(tf.reshape(dz, [size, num_samples, latent_size]), 1)
            up[-1] = tf.concat([dz, dz], -1)
            gradients = _backward(up, encoder, to_input=False)[0] + of_decoder
        return gradients

    for _ in range(work.epochs):
        with work.timed():
            epoch()[0].numpy()


def _weights(work: Work) -> tuple[Weights, Weights]:
    tf.random.set_seed(0)
    up = (784, *work.widths, 2 * work.latent_size)
    down = (work.latent_size, *reversed(work.widths), 784)
    encoder, decoder = (
        [tf.Variable(tf.random.normal(s, stddev=s[0] ** -0.5)) for s in itertools.pairwise(sizes)]
        for sizes in (up, down)
    )
    return encoder, decoder


def _forward(x: tf.Tensor, weights: Weights) -> list[tf.Tensor]:
    """The input of each layer, and the output."""
    values = [x]
    for w in weights:
        values.append(values[-1] @ w)
    return values


def _backward(
    values: list[tf.Tensor], weights: Weights, to_input: bool
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """For the weights and for the input, from the last of the values."""
    *inputs, d = values
    gradients = []
    for index in reversed(range(len(weights))):
        gradients.insert(0, tf.matmul(inputs[index], d, transpose_a=True))
        if index or to_input:
            d = tf.matmul(d, weights[index], transpose_b=True)
    return gradients, d
