"""The legacy HDF5 format of whole models, with the registered names of their classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras


class LegacySaving:
    """A mixin of registered models whose `save("model.h5")` is a file that `load_model` loads.

    Keras writes the bare name of a class, by which only Keras' own are found; here it is the
    registered name. The optimizer is not in the file, as it is in a `.keras` file.

    `keras.saving.save_model(vae, "model.h5")` does not ask the model: its file has the bare name,
    and loads with `custom_objects={"VAE": tfp_vae.VAE}`.
    """

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Saves the model, as `keras.Model.save`."""
        legacy = Path(str(filepath)).suffix in (".h5", ".hdf5")
        if legacy:
            kwargs["include_optimizer"] = False
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)  # type: ignore[misc]
        if legacy:
            with h5py.File(filepath, "r+") as file:
                config = json.loads(file.attrs["model_config"])
                config["class_name"] = keras.saving.get_registered_name(type(self))
                file.attrs["model_config"] = json.dumps(config).encode()
