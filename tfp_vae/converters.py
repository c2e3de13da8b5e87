"""A model's SavedModel, converted for the runtimes of ONNX and LiteRT."""

from __future__ import annotations

import importlib
import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import tensorflow as tf

from tfp_vae.errors import InputError
from tfp_vae.export import endpoints as all_endpoints
from tfp_vae.export import export_endpoints

ENDPOINTS = ("serve", "encode", "decode")
_SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
_STANDARD = ("", "ai.onnx", "ai.onnx.ml")  # domains whose operations every runtime has


def export_converted(
    vae: Any,
    filepath: Any,
    format: str,
    endpoints: Sequence[str] | str | None = None,
    opset_version: int | None = None,
) -> None:
    """Writes what `VAE.export` describes; nothing unless all of it can be converted."""
    if format not in _SUFFIXES:
        raise InputError(
            "Expected format to be 'tf_saved_model', 'onnx' or 'litert'.", repr(format)
        )
    path, suffix = Path(filepath), _SUFFIXES[format]
    if path.suffix in _SUFFIXES.values() and path.suffix != suffix:
        raise InputError(f"Expected a path that ends in {suffix}, or a folder.", path)
    one_file = path.suffix == suffix
    names = _chosen(vae, endpoints, format, only_one=one_file and format == "onnx")
    converter = _to_onnx if format == "onnx" else _to_litert
    convert = converter(opset_version)
    with tempfile.TemporaryDirectory() as folder:
        export_endpoints(vae, folder, verbose=False)
        groups = [names] if one_file else [[name] for name in names]
        made = {tuple(group): convert(folder, group) for group in groups}
    if not one_file:
        path.mkdir(parents=True, exist_ok=True)
    for group, content in made.items():
        (path if one_file else path / f"{group[0]}{suffix}").write_bytes(content)


def _chosen(
    vae: Any, endpoints: Sequence[str] | str | None, format: str, only_one: bool
) -> list[str]:
    if endpoints is None:
        return ["serve"] if only_one else list(ENDPOINTS)
    names = [endpoints] if isinstance(endpoints, str) else list(endpoints)
    draws = [name for name in names if name in all_endpoints(vae) and name not in ENDPOINTS]
    if draws:
        raise InputError(
            f"A file of format {format!r} cannot draw random numbers: expected endpoints among "
            f"{', '.join(ENDPOINTS)} (a SavedModel has the others).",
            ", ".join(draws),
        )
    if not names or set(names) - set(ENDPOINTS):
        raise InputError(f"Expected endpoints among {', '.join(ENDPOINTS)}.", endpoints)
    if only_one and len(names) > 1:
        raise InputError("An ONNX file has one endpoint: expected a folder.", endpoints)
    return names


def _needed(module: str, format: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"Exporting with format={format!r} needs {module.split('.')[0]}: "
            f"pip install 'tfp_vae[{format}]'.",
            error,
        ) from None


def _to_onnx(opset_version: int | None) -> Callable[[str, list[str]], bytes]:
    tf2onnx = _needed("tf2onnx", "onnx")

    def convert(folder: str, names: list[str]) -> bytes:
        (name,) = names
        loaded = tf.saved_model.load(folder)
        answer = loaded.signatures[name]
        specs = answer.structured_input_signature[1]

        @tf.function(input_signature=list(specs.values()), autograph=False)
        def function(*given: tf.Tensor) -> dict[str, tf.Tensor]:
            return answer(**dict(zip(specs, given, strict=True)))

        logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what is wrong is said below
        model, _ = tf2onnx.convert.from_function(
            function, list(specs.values()), opset=opset_version
        )
        strange = {node.op_type for node in model.graph.node if node.domain not in _STANDARD}
        if strange:
            _refuse(name, "onnx", strange)
        return model.SerializeToString()

    return convert


def _to_litert(opset_version: int | None) -> Callable[[str, list[str]], bytes]:
    if opset_version is not None:
        raise InputError("Only ONNX has an opset_version.", opset_version)

    def convert(folder: str, names: list[str]) -> bytes:
        loaded, alone = tf.saved_model.load(folder), tf.Module()
        alone.held = loaded
        signatures = {name: loaded.signatures[name] for name in names}
        try:
            with tempfile.TemporaryDirectory() as other:  # with `serve` in it, one would do for all
                tf.saved_model.save(alone, other, signatures=signatures)
                converter = tf.lite.TFLiteConverter.from_saved_model(other, names)
                return converter.convert()
        except Exception as error:  # its class is not public
            strange = set(re.findall(r"tf\.(\w+)", str(error)))
            _refuse(", ".join(names), "litert", strange)

    return convert


def _refuse(name: str, format: str, operations: set[str]) -> NoReturn:
    raise InputError(
        f"Expected networks that format {format!r} has the operations for, in the endpoint {name}.",
        ", ".join(sorted(operations)) or "others",
    ) from None
