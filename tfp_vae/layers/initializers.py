"""Several initializers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputError


@keras.saving.register_keras_serializable(package="tfp_vae")
class BlockwiseInitializer(ConfigFromSignature, keras.initializers.Initializer):
    """Fills blocks of the last axis, `sizes[i]` wide, each by its own `initializers[i]`.

    Args:
      initializers: each a name or a Keras initializer.
      sizes: the width of each block.
      validate_args: as in `tfp.layers`; the widths are checked either way.

    Raises:
      InputError: there are not as many sizes as initializers, or the sizes do not sum to the last
        axis of the shape to fill.

    Example:
      >>> both = BlockwiseInitializer(["zeros", keras.initializers.Constant(0.5)], sizes=[2, 1])
      >>> both([3]).numpy().tolist()
      [0.0, 0.0, 0.5]
    """

    @checked
    def __init__(
        self,
        initializers: Sequence[Any],
        sizes: Sequence[int],
        validate_args: bool = False,
    ) -> None:
        self.initializers = [keras.initializers.get(each) for each in initializers]
        self.sizes = [int(size) for size in sizes]
        self.validate_args = validate_args
        if len(self.initializers) != len(self.sizes) or not self.sizes:
            raise InputError(
                "Expected one size for each of at least one initializer.",
                f"{len(self.initializers)} initializers, sizes {self.sizes}",
            )

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        shape = tuple(shape)
        if not shape or sum(self.sizes) != shape[-1]:
            raise InputError(
                f"Expected a shape whose last axis is {sum(self.sizes)}, the sum of the sizes "
                f"{self.sizes}.",
                shape,
            )
        blocks = [
            initializer((*shape[:-1], size), dtype=dtype or keras.config.floatx())
            for initializer, size in zip(self.initializers, self.sizes, strict=True)
        ]
        return keras.ops.concatenate(blocks, axis=-1)
