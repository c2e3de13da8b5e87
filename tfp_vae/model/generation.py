"""New values of all variables: the loop over them along their priors and likelihoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.conditional import Emitted, Value
from tfp_vae.model.latent_pass import Values


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
    return _Generation(variables, num, seed, mean, length).of(given)


class _Generation:
    def __init__(self, variables: Variables, num: Any, seed: Any, mean: bool, length: Any) -> None:
        self.variables, self.num, self.mean, self.length = variables, num, mean, length
        self.all = {**variables.priors, **variables.likelihoods}
        seeds = tfp.random.split_seed(seed, n=len(self.all))
        self.seeds = dict(zip(self.all, seeds, strict=True))

    def of(self, given: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        values: Values = {name: Value(tf.convert_to_tensor(v)) for name, v in given.items()}
        values.update(self.variables.features_of(values))
        order = [name for name in self.all if name not in given]
        while order:
            name = order[0]
            if set(self.all[name].inputs) & set(order):
                group = self._that_need_each_other(name, order)
                values.update(self._by_steps(group, values))
                order = [each for each in order if each not in group]
                continue
            emitted = self.all[name].infer(values)
            values.update(emitted.more)
            if self.mean and name in self.variables.likelihoods:
                values[name] = Value(emitted.distribution.mean())
            else:
                values[name] = Value(self._draw(name, emitted, self.seeds[name]))
            order.pop(0)
        return {name: values[name].tensor for name in self.all}

    def _draw(self, name: str, emitted: Emitted, seed: Any) -> tf.Tensor:
        distribution = emitted.distribution
        if self.all[name].network is not None:
            return distribution.sample(seed=seed)
        steps = self._steps(name, distribution.event_shape.rank)
        return distribution.sample([self.num, *steps] if steps else self.num, seed=seed)

    def _steps(self, name: str, event_rank: int = 0) -> list[Any]:
        """Returns the axes of a value in front of an event: of a sequence its steps first."""
        shape = self.variables.shaped(name).shape
        steps = shape[: len(shape) - event_rank]
        if None in steps and self.length is None:
            raise InputError(
                f"{name} is a sequence of any length: expected length=, the number of steps.", None
            )
        return [self.length if size is None else size for size in steps]

    def _that_need_each_other(self, name: str, order: Sequence[str]) -> list[str]:
        """Returns a causal variable and the later ones that its steps depend on, in order."""
        found, todo = {name}, [name]
        while todo:
            more = (set(self.all[todo.pop()].inputs) & set(order)) - found
            found |= more
            todo += more
        return [each for each in order if each in found]

    def _by_steps(self, names: Sequence[str], values: Values) -> Values:
        """Returns sequences, of which each step is drawn given the steps before."""
        variables, shapes = self.variables, {name: self._steps(name) for name in names}
        counts = {shape[0] for shape in shapes.values() if isinstance(shape[0], int)}
        if len(counts) > 1:
            raise InputError(
                "Expected sequences of one length of variables that are causal.", counts
            )
        dtypes = {name: tf.as_dtype(variables.shaped(name).output.dtype) for name in names}
        start = [tf.zeros([self.num, *shapes[name]], dtypes[name]) for name in names]

        def body(t: tf.Tensor, *arrays: tf.Tensor) -> Any:
            """Adds step t to the draws so far, and to what is returned of these."""
            draws = dict(zip(names, arrays[: len(names)], strict=True))
            found = dict(zip(names, arrays[len(names) :], strict=True))
            states: Values = {}
            for name in names:
                known = {**values, **states, **{n: Value(array) for n, array in draws.items()}}
                known |= variables.features_of(known)
                emitted = self.all[name].infer(known)
                states.update(emitted.more)
                seed = tf.random.experimental.stateless_fold_in(self.seeds[name], t)
                step = self._draw(name, emitted, seed)
                draws[name] = _put(draws[name], step, t)
                if self.mean and name in variables.likelihoods:
                    step = emitted.distribution.mean()
                found[name] = _put(found[name], step, t)
            return t + 1, *draws.values(), *found.values()

        total = tf.convert_to_tensor(shapes[names[0]][0])
        made = tf.while_loop(lambda t, *_: t < total, body, (tf.constant(0), *start, *start))
        return {n: Value(v) for n, v in zip(names, made[1 + len(names) :], strict=True)}


def _put(array: tf.Tensor, draw: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    """Returns the array with its step t taken from the draw."""
    here = tf.range(tf.shape(array)[1]) == t
    here = tf.reshape(here, [1, -1, *[1] * (array.shape.rank - 2)])
    return tf.ensure_shape(tf.where(here, tf.cast(draw, array.dtype), array), array.shape)
