"""The arguments that every distribution of this package gives to `tfd.Distribution`."""

from __future__ import annotations

from typing import Any

from tensorflow_probability import distributions as tfd


def settings(
    parameters: dict[str, Any], dtype: Any, reparameterized: bool = False
) -> dict[str, Any]:
    """Returns the arguments of `tfd.Distribution.__init__`.

    Args:
      parameters: the constructor's `dict(locals())`, with `validate_args` and `name`.
      dtype: of draws.
      reparameterized: whether draws carry gradients.

    Example:
      >>> settings({"validate_args": False, "name": "P"}, tf.float32)["reparameterization_type"]
      <Reparameterization Type: NOT_REPARAMETERIZED>
    """
    kinds = {True: tfd.FULLY_REPARAMETERIZED, False: tfd.NOT_REPARAMETERIZED}
    return {
        "dtype": dtype,
        "reparameterization_type": kinds[reparameterized],
        "validate_args": parameters["validate_args"],
        "allow_nan_stats": True,
        "parameters": parameters,
        "name": parameters["name"],
    }
