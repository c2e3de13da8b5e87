"""How `jax_scan` trains and evaluates a loss."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from benchmarks.peers.jax_models import Loss, Parameters
from benchmarks.work import Work

State = tuple[Parameters, Any]
Epoch = Callable[[State, Array, Array], State]


def train(
    loss: Loss,
    parameters: Parameters,
    x: np.ndarray,
    work: Work,
    kind: Callable[..., Epoch] | None = None,
) -> Parameters:
    """Times each epoch and gives the trained parameters."""
    optimizer = optax.adam(1e-3)
    epoch = (kind or scan)(loss, optimizer, work.batch_size)
    state, images = (parameters, optimizer.init(parameters)), jnp.asarray(x)
    for key in jax.random.split(jax.random.key(1), work.epochs):
        with work.timed():
            state = jax.block_until_ready(epoch(state, images, key))
    return state[0]


def scan(loss: Loss, optimizer: optax.GradientTransformation, batch_size: int) -> Epoch:
    """An epoch as one compiled function."""
    step = _step(loss, optimizer)

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(state: State, x: Array, key: Array) -> State:
        each = _batches(len(x), batch_size, key)
        return lax.scan(lambda state, at: (step(state, x, *at), None), state, each)[0]

    return epoch


def loop(loss: Loss, optimizer: optax.GradientTransformation, batch_size: int) -> Epoch:
    """A compiled step in a Python loop: XLA's convolutions on CPUs are far slower in a scan."""
    step = jax.jit(_step(loss, optimizer), donate_argnums=0)

    def epoch(state: State, x: Array, key: Array) -> State:
        for at in zip(*_batches(len(x), batch_size, key), strict=True):
            state = step(state, x, *at)
        return state

    return epoch


def evaluate(loss: Loss, parameters: Parameters, x: np.ndarray, chunk: int = 10_000) -> float:
    """The mean over images of zeros and ones."""
    compiled = jax.jit(loss)
    parts = [x[at : at + chunk] for at in range(0, len(x), chunk)]
    keys = jax.random.split(jax.random.key(2), len(parts))
    values = [float(compiled(parameters, *each)) for each in zip(parts, keys, strict=True)]
    return float(np.average(values, weights=[len(part) for part in parts]))


def _step(loss: Loss, optimizer: optax.GradientTransformation) -> Callable[..., State]:
    def step(state: State, x: Array, rows: Array, key: Array) -> State:
        parameters, memory = state
        for_pixels, for_z = jax.random.split(key)
        batch = jax.random.bernoulli(for_pixels, x[rows]).astype(jnp.float32)
        gradients = jax.grad(loss)(parameters, batch, for_z)
        changes, memory = optimizer.update(gradients, memory)
        return optax.apply_updates(parameters, changes), memory

    return step


def _batches(size: int, batch_size: int, key: Array) -> tuple[Array, Array]:
    """The rows of each, and a key."""
    steps = size // batch_size
    order, key = jax.random.split(key)
    rows = jax.random.permutation(order, size)[: steps * batch_size].reshape(steps, batch_size)
    return rows, jax.random.split(key, steps)
