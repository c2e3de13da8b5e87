"""A model's SavedModel, converted for the runtimes of ONNX and LiteRT."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import tensorflow as tf

from tfp_vae.bridge.writing import replacing
from tfp_vae.errors import InputError
from tfp_vae.model.export import onnx_operations
from tfp_vae.model.export.endpoints import OfOneVariable, export_endpoints
from tfp_vae.model.export.saved_model import endpoints as all_endpoints

ENDPOINTS = ("serve", "encode", "decode")
_SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}


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
        export_endpoints(vae, folder, OfOneVariable)
        groups = [names] if one_file else [[name] for name in names]
        made = {tuple(group): convert(folder, group) for group in groups}
    (path.parent if one_file else path).mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as written:  # all take their places at its end, or none does
        for group, content in made.items():
            file = path if one_file else path / f"{group[0]}{suffix}"
            written.enter_context(replacing(file)).write_bytes(content)


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
            function,
            list(specs.values()),
            opset=opset_version,
            custom_op_handlers=dict(onnx_operations.HANDLERS),
        )
        content = model.SerializeToString()
        strange = _unknown_to_onnx(model) or _refused_by_runtime(content)
        if strange:
            _refuse(name, "onnx", strange)
        return content

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
                options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
                tf.saved_model.save(alone, other, signatures, options)
                converter = tf.lite.TFLiteConverter.from_saved_model(other, names)
                return converter.convert()
        except Exception as error:  # its class is not public
            if len(names) > 1:
                for name in names:  # to say which it is
                    convert(folder, [name])
            said = str(error)
            strange = set(re.findall(r"\btf\.([A-Z]\w+)", said)) or {said.split("\n")[0][:200]}
            _refuse(", ".join(names), "litert", strange)

    return convert


def _unknown_to_onnx(model: Any) -> set[str]:
    """Returns the operations that tf2onnx left as TensorFlow's, having none that do the same."""
    from onnx import defs

    found = set()
    versions = {opset.domain: opset.version for opset in model.opset_import}
    graphs = [model.graph, *model.functions]
    while graphs:
        for node in graphs.pop().node:
            known = defs.has(node.op_type, versions.get(node.domain, 1), node.domain)
            if not known and node.domain != "com.microsoft":  # which is onnxruntime's own
                found.add(node.op_type)
            graphs.extend(attribute.g for attribute in node.attribute if attribute.HasField("g"))
    return found


def _refused_by_runtime(content: bytes) -> set[str]:
    """Returns what onnxruntime, where installed, says of a model that it does not load."""
    try:
        import onnxruntime
    except ImportError:
        return set()
    try:
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own classes, of no common base
        return {str(error).split("\n")[0][:200]}
    return set()


def _refuse(name: str, format: str, operations: set[str]) -> NoReturn:
    raise InputError(
        f"Format {format!r} has no operations for what the endpoint {name} computes: expected "
        f"endpoints=[...] among {', '.join(ENDPOINTS)} without it, or a SavedModel.",
        ", ".join(sorted(operations)),
    ) from None
