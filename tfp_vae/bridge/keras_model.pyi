# What is public of a `keras.Model` on TensorFlow, and the little of the rest that is used here.
# Keras has no types: with it as a base, a checker takes any name for an attribute.
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

_Self = TypeVar("_Self", bound="KerasModel")

class History:
    history: dict[str, list[float]]
    epoch: list[int]
    params: dict[str, Any]
    model: Any

class KerasModel:
    # of an operation and a layer
    name: str
    built: bool
    trainable: bool
    autocast: bool
    supports_jit: bool
    supports_masking: bool
    activity_regularizer: Any
    dtype_policy: Any
    input_spec: Any
    input: Any
    output: Any
    inputs: Any
    outputs: Any
    path: str
    dtype: str
    compute_dtype: str
    variable_dtype: str
    input_dtype: str
    quantization_mode: str | None
    call_signature_parameters: Any
    losses: list[Any]
    metrics: list[Any]
    metrics_names: list[str]
    metrics_variables: list[Any]
    weights: list[Any]
    variables: list[Any]
    trainable_weights: list[Any]
    trainable_variables: list[Any]
    non_trainable_weights: list[Any]
    non_trainable_variables: list[Any]
    # of a model and its trainer
    @property
    def layers(self) -> list[Any]: ...
    compiled: bool
    _compile_config: Any
    optimizer: Any
    loss: Any
    history: History
    jit_compile: bool
    run_eagerly: bool
    steps_per_execution: int
    unrolled_steps_per_execution: int
    stop_training: bool
    stop_evaluating: bool
    stop_predicting: bool
    train_function: Any
    test_function: Any
    predict_function: Any
    compiled_metrics: Any
    distribute_strategy: Any
    _distribute_strategy: Any
    distribute_reduction_method: Any

    def __init__(
        self,
        *,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
        activity_regularizer: Any = ...,
    ) -> None: ...
    def __call__(self, inputs: Any, training: bool | None = ..., mask: Any = ...) -> Any: ...
    def call(self, inputs: Any, training: bool | None = ...) -> Any: ...
    def stateless_call(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *args: Any,
        return_losses: bool = ...,
        **kwargs: Any,
    ) -> Any: ...
    def quantized_call(self, *args: Any, **kwargs: Any) -> Any: ...
    def rematerialized_call(self, layer_call: Any, *args: Any, **kwargs: Any) -> Any: ...
    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any: ...
    def build(self, *args: Any, **kwargs: Any) -> None: ...
    def quantized_build(self, input_shape: Any, mode: Any) -> None: ...
    def add_loss(self, loss: Any) -> None: ...
    def add_metric(self, *args: Any, **kwargs: Any) -> Any: ...
    def add_variable(self, *args: Any, **kwargs: Any) -> Any: ...
    def add_weight(self, *args: Any, **kwargs: Any) -> Any: ...
    def get_weights(self) -> list[np.ndarray]: ...
    def set_weights(self, weights: Iterable[Any]) -> None: ...
    def count_params(self) -> int: ...
    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any: ...
    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any: ...
    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any: ...
    def _flatten_layers(self, include_self: bool = ..., recursive: bool = ...) -> list[Any]: ...
    def get_layer(self, name: str | None = ..., index: int | None = ...) -> Any: ...
    def summary(
        self,
        line_length: int | None = ...,
        positions: Any = ...,
        print_fn: Callable[..., Any] | None = ...,
        expand_nested: bool = ...,
        show_trainable: bool = ...,
        layer_range: Any = ...,
    ) -> None: ...
    # saving
    def save(
        self, filepath: Any, overwrite: bool = ..., zipped: bool | None = ..., **kwargs: Any
    ) -> None: ...
    def save_weights(
        self, filepath: Any, overwrite: bool = ..., max_shard_size: float | None = ...
    ) -> None: ...
    def load_weights(self, filepath: Any, skip_mismatch: bool = ..., **kwargs: Any) -> None: ...
    def save_own_variables(self, store: Any) -> None: ...
    def load_own_variables(self, store: Any) -> None: ...
    def get_state_tree(self, value_format: str = ...) -> dict[str, Any]: ...
    def set_state_tree(self, state_tree: Mapping[str, Any]) -> None: ...
    def export(
        self,
        filepath: Any,
        format: str = ...,
        verbose: bool | None = ...,
        input_signature: Any = ...,
    ) -> None: ...
    def to_json(self, **kwargs: Any) -> str: ...
    def get_config(self) -> dict[str, Any]: ...
    @classmethod
    def from_config(
        cls: type[_Self], config: dict[str, Any], custom_objects: Any = ...
    ) -> _Self: ...
    def get_build_config(self) -> dict[str, Any] | None: ...
    def build_from_config(self, config: Any) -> None: ...
    def get_compile_config(self) -> dict[str, Any] | None: ...
    def compile_from_config(self, config: Any) -> None: ...
    def quantize(
        self, mode: Any = ..., config: Any = ..., filters: Any = ..., **kwargs: Any
    ) -> None: ...
    def get_quantization_layer_structure(self, mode: Any = ...) -> Any: ...
    # training
    def compile(
        self,
        optimizer: Any = ...,
        loss: Any = ...,
        loss_weights: Any = ...,
        metrics: Any = ...,
        weighted_metrics: Any = ...,
        run_eagerly: bool = ...,
        steps_per_execution: Any = ...,
        jit_compile: Any = ...,
        auto_scale_loss: bool = ...,
    ) -> None: ...
    def compute_loss(
        self,
        x: Any = ...,
        y: Any = ...,
        y_pred: Any = ...,
        sample_weight: Any = ...,
        training: bool = ...,
    ) -> tf.Tensor: ...
    def stateless_compute_loss(self, *args: Any, **kwargs: Any) -> Any: ...
    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = ...
    ) -> dict[str, Any]: ...
    def compiled_loss(self, *args: Any, **kwargs: Any) -> Any: ...
    def get_metrics_result(self) -> dict[str, Any]: ...
    def reset_metrics(self) -> None: ...
    def make_train_function(self, force: bool = ...) -> Any: ...
    def make_test_function(self, force: bool = ...) -> Any: ...
    def make_predict_function(self, force: bool = ...) -> Any: ...
    def _maybe_symbolic_build(self, iterator: Any = ..., data_batch: Any = ...) -> None: ...
    def train_step(self, data: Any) -> dict[str, Any]: ...
    def test_step(self, data: Any) -> dict[str, Any]: ...
    def predict_step(self, data: Any) -> Any: ...
    def fit(
        self,
        x: Any = ...,
        y: Any = ...,
        batch_size: int | None = ...,
        epochs: int = ...,
        verbose: Any = ...,
        callbacks: Any = ...,
        validation_split: float = ...,
        validation_data: Any = ...,
        shuffle: Any = ...,
        class_weight: Any = ...,
        sample_weight: Any = ...,
        initial_epoch: int = ...,
        steps_per_epoch: int | None = ...,
        validation_steps: int | None = ...,
        validation_batch_size: int | None = ...,
        validation_freq: Any = ...,
    ) -> History: ...
    def evaluate(
        self,
        x: Any = ...,
        y: Any = ...,
        batch_size: int | None = ...,
        verbose: Any = ...,
        sample_weight: Any = ...,
        steps: int | None = ...,
        callbacks: Any = ...,
        return_dict: bool = ...,
        _use_cached_eval_dataset: bool = ...,
    ) -> Any: ...
    def predict(
        self,
        x: Any,
        batch_size: int | None = ...,
        verbose: Any = ...,
        steps: int | None = ...,
        callbacks: Any = ...,
    ) -> np.ndarray: ...
    def train_on_batch(
        self,
        x: Any,
        y: Any = ...,
        sample_weight: Any = ...,
        class_weight: Any = ...,
        return_dict: bool = ...,
    ) -> Any: ...
    def test_on_batch(
        self, x: Any, y: Any = ..., sample_weight: Any = ..., return_dict: bool = ...
    ) -> Any: ...
    def predict_on_batch(self, x: Any) -> np.ndarray: ...
