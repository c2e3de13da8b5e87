"""Keras' entry points to training: the data are looked at before work starts."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np

from tfp_vae.arguments.kinds import is_integer
from tfp_vae.bridge import sparse
from tfp_vae.bridge.keras_model import History
from tfp_vae.errors import InputError
from tfp_vae.steps.execution import StackedSteps
from tfp_vae.steps.listeners import are_callbacks, telling_epochs
from tfp_vae.steps.sources import as_keras_takes, is_source
from tfp_vae.wiring import as_array, outline


class HasTargets(Protocol):
    """What of the data is which variable."""

    def own_targets(self, data: Any) -> Any:
        """Returns what of the data is to be reconstructed, where no targets are given."""


class CheckedData(StackedSteps):
    """A `keras.Model` whose `fit`, `evaluate`, `predict` and their like take x alone too.

    Attributes:
      wiring: what of the data is which variable.
    """

    wiring: HasTargets

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> History:
        """Trains as `keras.Model.fit`; x alone is enough. Checks the data before training starts.

        y is what is to be reconstructed where that is not x: `fit(noisy, clean)`. Sample weights
        weigh the loss and `nll` and `kl` by Keras' rule, with y or without.
        """
        _no_classes(class_weight)
        _are_counts(
            epochs=(epochs, 0),
            initial_epoch=(initial_epoch, 0),
            batch_size=(batch_size, 1),
            steps_per_epoch=(steps_per_epoch, 1),
            validation_steps=(validation_steps, 0),
            validation_batch_size=(validation_batch_size, 1),
        )
        are_callbacks(callbacks)
        self._without_loss()
        if not 0 <= (validation_split or 0) < 1:
            raise InputError("Expected validation_split from 0 to less than 1.", validation_split)
        if self.compiled and self.optimizer is None:
            raise InputError(
                "Expected an optimizer to train with, compile('adam').", "compile(optimizer=None)"
            )
        x, y, sample_weight = self._looked_at(x, y, sample_weight, "x")
        if validation_data is not None:
            first, target, weights = keras.utils.unpack_x_y_sample_weight(validation_data)
            checked = self._looked_at(first, target, weights, "validation_data")
            alone = first is validation_data  # a data set, a generator or an array
            validation_data = checked[0] if alone else checked
        given = {
            "x": x,
            "y": y,
            "batch_size": batch_size,
            "epochs": epochs,
            "callbacks": callbacks,
            "initial_epoch": initial_epoch,
            "steps_per_epoch": steps_per_epoch,
        }
        self._plan(keras.Model.fit, given)
        given["callbacks"] = telling_epochs(callbacks, self._epoch_of_training, steps_per_epoch)
        self._fitting = True
        try:
            return super().fit(
                **given,
                verbose=verbose,
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle,
                sample_weight=sample_weight,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                validation_freq=validation_freq,
            )
        finally:
            self._fitting = False

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        _use_cached_eval_dataset: bool = False,
    ) -> Any:
        """Evaluates as `keras.Model.evaluate`; x alone is enough, y and weights are as for `fit`.

        The loss of an objective that `sees_whole_batch`, such as `BetaTC`, is one of batches of
        this size; `tfp_vae.evaluation.estimates.evaluate` has numbers that do not depend on it.
        """
        _are_counts(batch_size=(batch_size, 1), steps=(steps, 1))
        are_callbacks(callbacks)
        if not _use_cached_eval_dataset:
            self._without_loss()
            x, y, sample_weight = self._looked_at(x, y, sample_weight, "x")
        given = {"x": x, "y": y, "batch_size": batch_size, "steps": steps, "callbacks": callbacks}
        self._plan(keras.Model.evaluate, given)
        return super().evaluate(
            **given,
            verbose=verbose,
            sample_weight=sample_weight,
            return_dict=return_dict,
            _use_cached_eval_dataset=_use_cached_eval_dataset,
        )

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> np.ndarray:
        """Returns what `reconstruct` gives, a batch at a time, as `keras.Model.predict`."""
        _are_counts(batch_size=(batch_size, 1), steps=(steps, 1))
        are_callbacks(callbacks)
        if not is_source(x):
            x = as_keras_takes(as_array(x))
        return super().predict(x, batch_size, verbose, steps, callbacks)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains as `keras.Model.train_on_batch`; x alone is enough."""
        _no_classes(class_weight)
        x, y, sample_weight = sparse.dense((x, y, sample_weight))
        return super().train_on_batch(x, y, sample_weight, return_dict=return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Evaluates as `keras.Model.test_on_batch`; x alone is enough."""
        x, y, sample_weight = sparse.dense((x, y, sample_weight))
        return super().test_on_batch(x, y, sample_weight, return_dict=return_dict)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Returns what `reconstruct` gives, as `keras.Model.predict_on_batch`."""
        return super().predict_on_batch(sparse.dense(x))

    def predict_step(self, data: Any) -> Any:
        """Returns `reconstruct` of a batch."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.reconstruct(sparse.dense(x))

    def reconstruct(self, x: Any) -> Any:
        """Returns what the model makes of x, the same at each call."""
        raise NotImplementedError

    def _looked_at(self, x: Any, y: Any, sample_weight: Any, what: str) -> tuple[Any, Any, Any]:
        """Checks data and returns them as Keras takes them.

        Keras drops the weights of an x without targets: x is then given as its own target.
        """
        if sample_weight is not None and is_source(x):
            raise InputError(
                f"Expected the weights of a data set within {what}: batches (x, y, sample_weight), "
                "y None where it is x.",
                f"sample_weight={outline(sample_weight)}",
            )
        x, y = as_array(x), as_array(y)
        x = self._checks.data(x, y, what, sample_weight)
        if not is_source(x):
            x, y = as_keras_takes((x, y))
        if sample_weight is not None and y is None:
            y = self.wiring.own_targets(x)
        return x, y, sample_weight

    def _without_loss(self) -> None:
        """Raises `InputError` where `compile` was given what the objective has."""
        asked = self._compile_config.config if self.compiled else {}
        for name in ("loss", "loss_weights"):
            if asked.get(name) is not None:
                raise InputError(
                    "A VAE's loss is its objective, VAE(..., objective=ELBO()): compile without "
                    "one.",
                    f"{name}={asked[name]!r}",
                )


def _no_classes(class_weight: Any) -> None:
    if class_weight is not None:
        raise InputError(
            "The targets of a VAE are no classes: expected a weight for each example, "
            "fit(x, sample_weight=...).",
            f"class_weight={class_weight}",
        )


def _are_counts(**given: tuple[Any, int]) -> None:
    """Raises `InputError` unless each, where it is given, is a whole number and large enough."""
    for name, (value, least) in given.items():
        if value is not None and not is_integer(value, least):
            raise InputError(f"Expected {name} to be a whole number from {least} on.", repr(value))
