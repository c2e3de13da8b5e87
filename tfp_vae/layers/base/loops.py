"""The losses of a layer within a loop of TensorFlow's, such as an RNN's."""

from __future__ import annotations

import tensorflow as tf

from tfp_vae.errors import InputError


class RefusesLoops:
    """A layer that adds a loss for each call, and raises where a loop would hide the loss."""

    def _get_own_losses(self) -> list[tf.Tensor]:
        losses = super()._get_own_losses()  # type: ignore[misc]
        if not tf.executing_eagerly() and any(map(_is_within, losses)):
            name = self.name  # type: ignore[attr-defined]
            raise InputError(
                f"{name}: expected no KL term within the loop of an RNN, where each step has its "
                "own and nothing outside sees them. Give the RNN unroll=True, or compile the model "
                "with run_eagerly=True.",
                "a loss of a graph within the model's",
            )
        return losses


def _is_within(loss: tf.Tensor) -> bool:
    """Returns whether the loss is of a graph within the present one."""
    present = tf.compat.v1.get_default_graph()
    graph = loss.graph if tf.is_symbolic_tensor(loss) else None
    while graph is not None and graph is not present:
        graph = getattr(graph, "outer_graph", None)
        if graph is present:
            return True
    return False
