"""How training steps are run: by which compiler, and how many of them in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments import amounts
from tfp_vae.arguments.kinds import is_integer
from tfp_vae.errors import InputError
from tfp_vae.objectives.players import ByPlayer
from tfp_vae.steps.queued import Ahead, Epoch, TellsEpochs
from tfp_vae.steps.stacked import Block

_STEPS_FOR_XLA = 1000
_DRAWS_FOR_XLA = 100_000  # of an estimate of log p(x)
# Enough that starting a call costs nothing beside its steps; few enough that a progress bar moves.
_STEPS = 32
_BYTES = 2**26  # that the batches of one call may take
_SLOW = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.AlphaDropout,
)
_THE_LESS_THE_BETTER = ("nll", "val_nll")
_KINDS = ("train_batch", "test_batch", "batch")
_HOOKS = [f"on_{kind}_{when}" for kind in _KINDS for when in ("begin", "end")]
_ONLY_LOOK_ON = (keras.callbacks.ProgbarLogger, keras.callbacks.TerminateOnNaN)


class Execution:
    """The training and evaluation of a `keras.Model` in calls of several steps.

    One compiled loop runs `train_step` on one batch after the other: the same steps as one by one,
    whatever the sizes of the batches, without the time between them. `compile` has Keras'
    arguments, and two of them decide by themselves unless they are given:

    - `jit_compile="auto"`: on a GPU or TPU as Keras does; on a CPU XLA from 1,000 training steps
      on (each counted as often as the objective draws z), so that compiling (3 s) pays, if it is
      faster there: not with convolutions, nor with noise other than that of `IndependentNormal`.
    - `steps_per_execution="auto"`: as many steps in a call as take 64 MB of data, 32 at most; one
      where a callback looks at each batch.

    Callbacks are called for each step, and the progress bar counts each: with several steps in a
    call these follow once the call is done, and see the logs of its last step.

    Attributes:
      steps_per_call: how many steps a call of `fit` or `evaluate` does at most.
      trains_by_xla: whether the rule above takes XLA for training.
    """

    _checks: Any
    _epoch_of_evaluation: Epoch
    _epoch_of_training: Epoch
    _fitting: bool
    _distribute_strategy: Any
    built: bool
    compiled: bool
    distribute_strategy: Any
    get_metrics_result: Any
    jit_compile: Any
    objective: Any
    optimizer: Any
    run_eagerly: bool
    test_function: Any
    test_step: Any
    train_function: Any
    train_step: Any
    trainable_variables: Any

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
        """As `keras.Model.compile`.

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
        if jit_compile == "auto" and not _has_accelerator():
            jit_compile = False  # for evaluation and prediction; `fit` knows more of training
        inner = optimizer
        while hasattr(inner, "inner_optimizer"):  # of a LossScaleOptimizer
            inner = inner.inner_optimizer
        if isinstance(inner, ByPlayer):
            inner.bind(self.objective.state)
        super().compile(  # type: ignore[misc]
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )

    def get_compile_config(self) -> dict[str, Any]:
        """As Keras', with what was asked for: another machine may choose otherwise."""
        config = super().get_compile_config()  # type: ignore[misc]
        return {**config, **self._asked} if config else config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As Keras', which calls no `compile` but its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)  # for its state to be loaded into

    def make_train_function(self, force: bool = False) -> None:
        """As Keras'."""
        if self.train_function is None or force:
            super().make_train_function(force)  # type: ignore[misc]
            self.train_function = self._in_blocks(self.train_step, self.train_function, True)

    def make_test_function(self, force: bool = False) -> None:
        """As Keras'."""
        if self.test_function is None or force:
            super().make_test_function(force)  # type: ignore[misc]
            self.test_function = self._in_blocks(self.test_step, self.test_function, False)
        self._epoch_of_evaluation.begin(self._steps_of_evaluation, anew=True)

    def expect(self, steps: int) -> None:
        """Says how many training steps there will be, done ones too: `fit` knows its own only."""
        by_itself = self._asked["jit_compile"] == "auto" and not _has_accelerator()
        steps *= self.objective.num_samples
        if by_itself and steps >= _STEPS_FOR_XLA and not self.trains_by_xla and suits_xla(self):
            self.trains_by_xla, self.train_function = True, None

    def estimates_by_xla(self, draws: int) -> bool:
        """Whether it pays that XLA compiles the log-likelihood of so many draws of z (0.1 s)."""
        asked = self._asked["jit_compile"] if self.compiled else "auto"
        if asked != "auto":
            return bool(asked)
        return draws >= _DRAWS_FOR_XLA and not _has_accelerator()

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
        alone = any(looks_at_each_batch(c) for c in _listed(given.get("callbacks")))
        values = self._checks.values_in_batch or amounts.values_in_batch(given)
        fitting = max(1, _BYTES // (4 * max(1, values)))
        steps = 1 if alone or self._is_replicated else min(_STEPS, fitting)
        if steps != self.steps_per_call:
            self.steps_per_call = steps
            self.train_function = self.test_function = None

    def _telling_epochs(self, callbacks: Any, steps: int | None) -> Any:
        """`fit`'s callbacks with one more, which tells the train function where epochs begin."""
        told = TellsEpochs(self._epoch_of_training, amounts.at_most(steps))
        for callback in _listed(callbacks):
            monitored = getattr(callback, "monitor", "")
            if monitored in _THE_LESS_THE_BETTER and getattr(callback, "mode", "") == "auto":
                callback.mode = "min"  # Keras knows it of the metrics that `compile` is given
        if isinstance(callbacks, keras.callbacks.CallbackList):
            others = [c for c in callbacks.callbacks if not isinstance(c, TellsEpochs)]
            callbacks.callbacks = [told, *others]
            return callbacks
        return [told, *_listed(callbacks)]

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """As Keras', which takes the mean of a batch of all replicas, where it wants a shape.

        It fails where the replicas are in several processes.
        """
        if iterator is not None and self._distribute_strategy is not None:
            batch = next(next(iter(iterator))[2])
            local = self.distribute_strategy.experimental_local_results
            iterator, data_batch = None, keras.tree.map_structure(lambda v: local(v)[0], batch)
        super()._maybe_symbolic_build(iterator, data_batch)  # type: ignore[misc]

    @property
    def _is_replicated(self) -> bool:
        return tf.distribute.has_strategy() or self.distribute_strategy.num_replicas_in_sync > 1

    def _in_blocks(self, step: Callable[[Any], Any], as_keras: Any, training: bool) -> Any:
        """`step` as a function of an iterator; Keras' own where each step is to be on its own."""
        if self.run_eagerly or self._is_replicated or not step.__module__.startswith("tfp_vae."):
            return as_keras  # the logs of a step of the user's own need not be metrics
        if training and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        jit_compile = self.jit_compile or (training and self.trains_by_xla)
        block = Block(step, self.get_metrics_result, self.steps_per_call, jit_compile)
        epoch = self._epoch_of_training if training else self._epoch_of_evaluation
        return Ahead(block, as_keras, epoch)


def suits_xla(model: Any) -> bool:
    """Whether XLA can compile the training of a model, and makes it faster on a CPU.

    Not convolutions, and not random numbers as TensorFlow and TFP draw them (see `layers.fast`).
    """
    found = model._flatten_layers(include_self=False)
    if not all(layer.supports_jit and not isinstance(layer, _SLOW) for layer in found):
        return False
    layers = model.posterior_layers.values()
    return all(getattr(layer, "fast_under_xla", False) for layer in layers)


def looks_at_each_batch(callback: keras.callbacks.Callback) -> bool:
    """Whether it may want to be called at each training step.

    One that has a method for that does, unless it says `each_batch = False`, or is one of Keras'
    that works at the end of epochs.
    """
    if not getattr(callback, "each_batch", True) or isinstance(callback, _ONLY_LOOK_ON):
        return False
    often = getattr(callback, "save_freq", getattr(callback, "update_freq", None))
    if often == "epoch":
        return False
    here, base = type(callback), keras.callbacks.Callback
    overridden = any(getattr(here, hook) is not getattr(base, hook) for hook in _HOOKS)
    return overridden or any(hook in vars(callback) for hook in _HOOKS)


def _has_accelerator() -> bool:
    return any(device.device_type != "CPU" for device in tf.config.list_physical_devices())


def _listed(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks.callbacks
    return keras.tree.flatten(callbacks)
