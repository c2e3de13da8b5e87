"""Operations of TensorFlow that tf2onnx has no counterpart of, in terms of ONNX's own."""

from __future__ import annotations

from typing import Any


def expm1(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Computes exp(x) - 1 as `tanh(x / 2) (exp(x) + 1)`, which is as exact near 0 as `tanh`."""
    (x,) = node.input
    shapes, dtypes = node.output_shapes, node.output_dtypes
    one, half = (_constant(ctx, name, value, x) for value in (1.0, 0.5))
    tanh = ctx.make_node("Tanh", ctx.make_node("Mul", [x, half]).output).output[0]
    more = ctx.make_node("Add", [ctx.make_node("Exp", [x]).output[0], one]).output[0]
    ctx.remove_node(name)
    ctx.make_node("Mul", [tanh, more], outputs=node.output, shapes=shapes, dtypes=dtypes, name=name)


def broadcast_args(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Computes the shape that two shapes are broadcast to, from a tensor of that shape."""
    from onnx import TensorProto, helper

    shapes, dtypes = node.output_shapes, node.output_dtypes
    one, other = (
        ctx.make_node("Cast", [given], attr={"to": TensorProto.INT64}).output[0]
        for given in node.input
    )
    zero = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
    filled = ctx.make_node("ConstantOfShape", [one], attr={"value": zero}).output[0]
    both = ctx.make_node("Expand", [filled, other]).output[0]
    shape = ctx.make_node("Shape", [both]).output
    ctx.remove_node(name)
    ctx.make_node(
        "Cast",
        shape,
        attr={"to": dtypes[0]},
        outputs=node.output,
        shapes=shapes,
        dtypes=dtypes,
        name=name,
    )


HANDLERS: dict[str, tuple[Any, list[Any]]] = {
    "BroadcastArgs": (broadcast_args, []),
    "Expm1": (expm1, []),
}


def _constant(ctx: Any, name: str, value: float, like: str) -> str:
    import numpy as np
    from tf2onnx import utils

    dtype = utils.map_onnx_to_numpy_type(ctx.get_dtype(like))
    return ctx.make_const(utils.make_name(name), np.array(value, dtype)).output[0]
