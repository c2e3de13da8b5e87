"""The legacy HDF5 format of whole models, which knows a class by its bare name only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras

from tfp_vae.bridge.keras_model import KerasModel


class LegacySaving(KerasModel):
    """A registered `keras.Model` whose `save("model.h5")` writes a file that `load_model` loads.

    Keras writes the bare name of the class, and finds its own classes by it; this model writes the
    name that the class is registered by. The file is without the optimizer, which Keras writes for
    functional models only. `.keras` files have the optimizer.

    `keras.saving.save_model(vae, "model.h5")` does not ask the model: that file has the bare name,
    and loads with `custom_objects={"VAE": tfp_vae.VAE}`.
    """

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Saves as `keras.Model.save`."""
        legacy = Path(str(filepath)).suffix in (".h5", ".hdf5")
        if legacy:
            kwargs["include_optimizer"] = False
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)
        if legacy:
            with h5py.File(filepath, "r+") as file:
                config = json.loads(file.attrs["model_config"])
                config["class_name"] = keras.saving.get_registered_name(type(self))
                file.attrs["model_config"] = json.dumps(config).encode()
