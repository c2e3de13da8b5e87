"""The legacy HDF5 format of whole models, which knows a class by its bare name only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras


class LegacySaving:
    """For a registered `keras.Model`: `save("model.h5")` writes a file that `load_model` loads.

    Keras puts the bare name of the class there, which it finds for its own classes; here it is the
    name that the class is registered by. The optimizer is not in that file: what Keras writes of
    it is of functional models only. `.keras` files have it.

    `keras.saving.save_model(vae, "model.h5")` does not ask the model: what it writes has the bare
    name, and loads with `custom_objects={"VAE": tfp_vae.VAE}`.
    """

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """As `keras.Model.save`."""
        legacy = Path(str(filepath)).suffix in (".h5", ".hdf5")
        if legacy:
            kwargs["include_optimizer"] = False
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)  # type: ignore[misc]
        if legacy:
            with h5py.File(filepath, "r+") as file:
                config = json.loads(file.attrs["model_config"])
                config["class_name"] = keras.saving.get_registered_name(type(self))
                file.attrs["model_config"] = json.dumps(config).encode()
