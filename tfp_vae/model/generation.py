"""New values of all variables: the loop over them along their priors and likelihoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Values, Variables
from tfp_vae.model.conditional import Conditional, Emitted, Value


def generate(
    variables: Variables,
    num: Any,
    seed: Any,
    given: Mapping[str, Any],
    mean: bool = True,
    length: Any = None,
) -> dict[str, tf.Tensor]:
    """Returns values of all variables, `[num, ...]`: drawn in order, observed ones as means.

    A network that takes its own variable or a later one is causal: step t of its distribution
    depends on the steps before. From the first such variable on values are made step by step.

    Args:
      variables: of the model.
      num: how many.
      seed: a pair of integers.
      given: data, and values of variables that are not drawn, `[num, ...]` each.
      mean: False draws observed variables too.
      length: of sequences, where shapes leave it open.

    Raises:
      InputError: the length is open, or a network takes what is neither given nor drawn.
    """
    all_of = {**variables.priors, **variables.likelihoods}
    seeds = dict(zip(all_of, tfp.random.split_seed(seed, n=len(all_of)), strict=True))
    values: Values = {name: Value(tf.convert_to_tensor(v)) for name, v in given.items()}
    values.update(variables.features_of(values))
    order = [name for name in all_of if name not in given]
    while order:
        name = order[0]
        if set(all_of[name].inputs) & set(order):
            group = _that_need_each_other(all_of, name, order)
            _by_steps(variables, group, num, seeds, values, mean, length)
            order = [each for each in order if each not in group]
            continue
        emitted = all_of[name].infer(values)
        values.update(emitted.more)
        values[name] = Value(_value(variables, name, emitted, num, seeds[name], mean, length))
        order.pop(0)
    return {name: values[name].tensor for name in all_of}


def _that_need_each_other(
    all_of: Mapping[str, Conditional], name: str, order: Sequence[str]
) -> list[str]:
    """Returns a causal variable and the later ones that its steps depend on, in order."""
    found, todo = {name}, [name]
    while todo:
        more = (set(all_of[todo.pop()].inputs) & set(order)) - found
        found |= more
        todo += more
    return [each for each in order if each in found]


def _value(
    variables: Variables,
    name: str,
    emitted: Emitted,
    num: Any,
    seed: Any,
    mean: bool,
    length: Any,
) -> tf.Tensor:
    distribution = emitted.distribution
    conditional = variables.priors.get(name)
    if conditional is None:
        return distribution.mean() if mean else distribution.sample(seed=seed)
    if conditional.network is not None:
        return distribution.sample(seed=seed)
    steps = steps_of(variables.posteriors[name], distribution.event_shape.rank, length)
    return distribution.sample([num, *steps] if steps else num, seed=seed)


def steps_of(posterior: Conditional, event_rank: int, length: Any) -> list[Any]:
    """Returns the axes of a value that a prior over one step does not have.

    Raises:
      InputError: one of these is open, and no length is given.
    """
    shape = posterior.shape
    steps = list(shape[: len(shape) - event_rank])
    if None in steps and length is None:
        raise InputError(
            f"{posterior.variable} is a sequence of any length: expected length=, the number of "
            "steps.",
            None,
        )
    return [length if size is None else size for size in steps]


def _by_steps(
    variables: Variables,
    order: Sequence[str],
    num: Any,
    seeds: Mapping[str, Any],
    values: Values,
    mean: bool,
    length: Any,
) -> None:
    """Fills in `values` with sequences: each step is drawn given the steps before."""
    all_of = {**variables.priors, **variables.likelihoods}
    shapes = {n: _sequence_shape(variables, n, length) for n in order}
    counts = {shape[0] for shape in shapes.values() if isinstance(shape[0], int)}
    if len(counts) > 1:
        raise InputError("Expected sequences of one length of variables that are causal.", counts)
    dtypes = {name: tf.as_dtype(variables.shaped(name).output.dtype) for name in order}
    start = {n: tf.zeros([num, *shape], dtypes[n]) for n, shape in shapes.items()}
    names = list(start)

    def body(t: tf.Tensor, *arrays: tf.Tensor) -> Any:
        now, means = dict(zip(names, arrays[: len(names)], strict=True)), arrays[len(names) :]
        found, states = dict(zip(names, means, strict=True)), dict[str, Value]()
        for name in names:
            known = {**values, **states, **{n: Value(array) for n, array in now.items()}}
            known |= variables.features_of(known)
            emitted = all_of[name].infer(known)
            states.update(emitted.more)
            seed = tf.random.experimental.stateless_fold_in(seeds[name], t)
            if all_of[name].network is None:
                draw = emitted.distribution.sample([num, shapes[name][0]], seed=seed)
            else:
                draw = emitted.distribution.sample(seed=seed)
            now[name] = _put(now[name], draw, t)
            seen = name in variables.likelihoods and mean
            found[name] = _put(found[name], emitted.distribution.mean() if seen else draw, t)
        return t + 1, *(now[n] for n in names), *(found[n] for n in names)

    total = tf.convert_to_tensor(next(iter(shapes.values()))[0])
    initial = (tf.constant(0), *start.values(), *start.values())
    _, *made = tf.while_loop(lambda t, *_: t < total, body, initial)
    values.update({n: Value(v) for n, v in zip(names, made[len(names) :], strict=True)})


def _put(array: tf.Tensor, draw: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    """Returns the array with its step t taken from the draw."""
    here = tf.range(tf.shape(array)[1]) == t
    here = tf.reshape(here, [1, -1, *[1] * (array.shape.rank - 2)])
    return tf.ensure_shape(tf.where(here, tf.cast(draw, array.dtype), array), array.shape)


def _sequence_shape(variables: Variables, name: str, length: Any) -> list[Any]:
    """Returns the shape of a sequence of values, its length first."""
    first, *rest = variables.shaped(name).shape
    if first is None and length is None:
        raise InputError(
            f"{name} is a sequence of any length: expected length=, the number of steps.", None
        )
    return [length if first is None else first, *rest]
