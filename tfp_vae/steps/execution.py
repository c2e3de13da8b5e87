"""How training steps are run: by which compiler, and how many of them in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import keras
import tensorflow as tf

from tfp_vae.arguments import amounts
from tfp_vae.arguments.kinds import is_integer
from tfp_vae.bridge.hdf5 import LegacySaving
from tfp_vae.errors import InputError
from tfp_vae.objectives import Objective
from tfp_vae.objectives.players import ByPlayer
from tfp_vae.steps import compilers
from tfp_vae.steps.listeners import listed, looks_at_each_batch
from tfp_vae.steps.queued import Ahead, Epoch
from tfp_vae.steps.stacked import Block

# Enough that starting a call costs nothing beside its steps; few enough that a progress bar moves.
_STEPS = 32
_BYTES = 2**26  # that the batches of one call may take


class Checks(Protocol):
    """Checks of data before work starts.

    Attributes:
      values_in_batch: how many numbers the last batch had that `data` looked at; 0 for arrays.
    """

    values_in_batch: int

    def data(self, x: Any, y: Any, what: str, sample_weight: Any = None) -> Any:
        """Checks the first batch and returns x with nothing lost."""


class StackedSteps(LegacySaving):
    """A `keras.Model` that trains and evaluates in calls of several steps.

    One compiled loop runs `train_step` on one batch after the other: the same steps as one by one,
    whatever the sizes of the batches, without the time between them. `compile` has Keras'
    arguments, and two of them decide by themselves unless they are given:

    - `jit_compile="auto"`: on a GPU or TPU as Keras does; on a CPU XLA from 1,000 training steps
      on (each counted as often as the objective draws z), so that compiling (3 s) pays, if XLA is
      faster there: not with convolutions, nor with noise other than that of `IndependentNormal`.
    - `steps_per_execution="auto"`: as many steps in a call as take 64 MB of data, 32 at most; one
      where a callback looks at each batch.

    Callbacks are called for each step, and the progress bar counts each: with several steps in a
    call these follow once the call is done, and see the logs of its last step.

    Attributes:
      objective: what is minimized.
      steps_per_call: how many steps a call of `fit` or `evaluate` does at most.
      trains_by_xla: whether the rule above takes XLA for training.
    """

    objective: Objective
    _checks: Checks

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._fitting = False
        self._epoch_of_training, self._epoch_of_evaluation = Epoch(), Epoch()

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: Any = "auto",
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Compiles as `keras.Model.compile`.

        Raises:
          InputError: `steps_per_execution` is no number of steps.
        """
        if steps_per_execution != "auto" and not is_integer(steps_per_execution):
            raise InputError(
                "Expected steps_per_execution to be 'auto' or a whole number from 1 on.",
                repr(steps_per_execution),
            )
        self._asked = {"steps_per_execution": steps_per_execution, "jit_compile": jit_compile}
        self._steps_of_evaluation: int | None = None
        self.steps_per_call = 1 if steps_per_execution == "auto" else steps_per_execution
        self.trains_by_xla = False
        if jit_compile == "auto" and not compilers.has_accelerator():
            jit_compile = False  # for evaluation and prediction; `fit` knows more of training
        inner = optimizer
        while hasattr(inner, "inner_optimizer"):  # of a LossScaleOptimizer
            inner = inner.inner_optimizer
        if isinstance(inner, ByPlayer):
            inner.bind(self.objective.state)
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )

    def get_compile_config(self) -> dict[str, Any] | None:
        """Returns Keras' config with what was asked for: another machine may choose otherwise."""
        config = super().get_compile_config()
        return {**config, **self._asked} if config else config

    def compile_from_config(self, config: Any) -> None:
        """Compiles by `self.compile`, and builds the optimizer for its state to be loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force: bool = False) -> None:
        """Makes Keras' function, or one that does several steps."""
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = self._in_blocks(self.train_step, self.train_function, True)

    def make_test_function(self, force: bool = False) -> None:
        """Makes Keras' function, or one that does several steps."""
        if self.test_function is None or force:
            super().make_test_function(force)
            self.test_function = self._in_blocks(self.test_step, self.test_function, False)
        self._epoch_of_evaluation.begin(self._steps_of_evaluation, anew=True)

    def expect(self, steps: int) -> None:
        """Says how many training steps there will be, done ones too: `fit` knows its own only."""
        chooses = self._asked["jit_compile"] == "auto" and not compilers.has_accelerator()
        enough = steps * self.objective.num_samples >= compilers.STEPS_FOR_XLA
        if chooses and enough and not self.trains_by_xla and self._suits_xla:
            self.trains_by_xla, self.train_function = True, None

    @property
    def posterior_layers(self) -> dict[str, Any]:
        """The layer that makes each posterior, by the name of the latent variable."""
        raise NotImplementedError

    @property
    def _suits_xla(self) -> bool:
        layers = self._flatten_layers(include_self=False)
        return compilers.suits_xla(layers, self.posterior_layers.values())

    def estimates_by_xla(self, draws: int) -> bool:
        """Tells whether it pays that XLA compiles log p(x) at so many draws of z (0.1 s)."""
        asked = self._asked["jit_compile"] if self.compiled else "auto"
        if asked != "auto":
            return bool(asked)
        return draws >= compilers.DRAWS_FOR_XLA and not compilers.has_accelerator()

    def _plan(self, method: Callable[..., Any], given: dict[str, Any]) -> None:
        """Chooses how many steps a call of `fit` or `evaluate` with these arguments takes."""
        if not self.compiled:
            return  # Keras says so
        training = method is keras.Model.fit
        if not training:
            self._steps_of_evaluation = amounts.at_most(given.get("steps"))
        if not training and self._fitting:  # in the middle of it, whose functions stay as they are
            return
        if training:
            self.expect(int(amounts.number(self.optimizer.iterations)) + amounts.steps_of(given))
        if self._asked["steps_per_execution"] != "auto":
            return
        alone = any(looks_at_each_batch(c) for c in listed(given.get("callbacks")))
        values = self._checks.values_in_batch or amounts.values_in_batch(given)
        fitting = max(1, _BYTES // (4 * max(1, values)))
        steps = 1 if alone or self._is_replicated else min(_STEPS, fitting)
        if steps != self.steps_per_call:
            self.steps_per_call = steps
            self.train_function = self.test_function = None

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Builds as Keras, from one replica's batch: Keras fails with replicas in processes."""
        if iterator is not None and self._distribute_strategy is not None:
            batch = next(next(iter(iterator))[2])
            local = self.distribute_strategy.experimental_local_results
            iterator, data_batch = None, keras.tree.map_structure(lambda v: local(v)[0], batch)
        super()._maybe_symbolic_build(iterator, data_batch)

    @property
    def _is_replicated(self) -> bool:
        return tf.distribute.has_strategy() or self.distribute_strategy.num_replicas_in_sync > 1

    def _in_blocks(self, step: Callable[[Any], Any], as_keras: Any, training: bool) -> Any:
        """Returns a function of an iterator that runs `step`; Keras' own for each step alone."""
        if self.run_eagerly or self._is_replicated or not step.__module__.startswith("tfp_vae."):
            return as_keras  # the logs of a step of the user's own need not be metrics
        if training and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        jit_compile = self.jit_compile or (training and self.trains_by_xla)
        block = Block(step, self.get_metrics_result, self.steps_per_call, jit_compile)
        epoch = self._epoch_of_training if training else self._epoch_of_evaluation
        return Ahead(block, as_keras, epoch)
