"""The data of a VAE: x, and what encoder, decoder and prior are conditioned on."""

from __future__ import annotations

from typing import Any

import keras

from tfp_vae.bridge import sparse
from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.named_data import NamedData, the_one_array
from tfp_vae.wiring import Ports, are_scalars, outline


class Conditioned(NamedData):
    """x and the conditions of an encoder and a decoder, found in what a user gives.

    Data are x alone where there are no conditions, else `[x, condition, ...]` in order (the
    encoder's, the decoder's, the prior's), a dict by name, or whatever structure the encoder takes.

    Args:
      variables: one z and one x, both networks under the names of `shared_names`.
      encoder: the inputs of the encoder.
      decoder: the inputs of the decoder.
      names: of the decoder's conditions, as `shared_names` gives these.

    Attributes:
      encoder: as given.
      decoder: as given.
    """

    def __init__(
        self, variables: Variables, encoder: Ports, decoder: Ports, names: dict[str, str]
    ) -> None:
        self.encoder, self.decoder = encoder, decoder
        of_decoder = {names[theirs]: tensor for theirs, tensor in decoder.conditions.items()}
        of_prior = variables.priors["z"].inputs
        conditions = {**of_prior, **of_decoder, **encoder.conditions}
        order = [*encoder.conditions, *of_decoder, *of_prior]
        super().__init__(
            variables, {"x": encoder.main, **{name: conditions[name] for name in order}}
        )
        self.latents, self.optional = {"z": decoder.main}, {}
        self.given_names = list(of_decoder)
        self.drawn_given = [name for name in dict.fromkeys([*of_decoder, *of_prior]) if name != "x"]

    def split(self, data: Any) -> tuple[Any, dict[str, Any]]:
        """Returns x and the conditions by name.

        Raises:
          InputError: the data are not x and the conditions that the networks take.
        """
        main, names = self.encoder.main.name, list(self.conditions)
        data = self.with_masks(data)
        if not names and (not isinstance(data, dict) or sparse.is_sparse(data)):
            return the_one_array(data), {}
        if isinstance(data, (list, tuple)) and len(data) == 1 + len(names):
            return data[0], dict(zip(names, data[1:], strict=True))
        of_x = {"x", main} & set(data) if isinstance(data, dict) else set()
        if of_x and set(names) <= set(data) <= {*names, *of_x}:
            return data.get(main, data.get("x")), {name: data[name] for name in names}
        try:
            keras.tree.assert_same_structure(self.encoder.structure, data)
            leaves = (keras.tree.flatten(part) for part in (self.encoder.structure, data))
            given = {tensor.name: value for tensor, value in zip(*leaves, strict=True)}
            return given[main], {name: given[name] for name in names}
        except (ValueError, TypeError, KeyError):  # another structure, or without some condition
            raise InputError(
                f"Expected the networks' {1 + len(names)} inputs, [{', '.join(['x', *names])}], or "
                "a dict of them.",
                outline(data),
            ) from None

    @property
    def maskable(self) -> list[str]:
        return list(dict.fromkeys(["x", self.encoder.main.name]))

    def given(self, conditions: Any, draws: bool = False) -> dict[str, Any]:
        """Returns conditions by name: from a dict, a list in order, or the one that there is.

        Args:
          conditions: the decoder's.
          draws: the prior's too.

        Raises:
          InputError: they are not what the decoder takes.
        """
        names = self.drawn_given if draws else self.given_names
        if len(names) == 1 and isinstance(conditions, (list, tuple)) and are_scalars(conditions):
            conditions = [conditions]  # the one that there is, as a list
        if isinstance(conditions, dict) and set(names) <= set(conditions):
            return {name: conditions[name] for name in names}
        if not isinstance(conditions, (dict, list, tuple)):
            conditions = [] if conditions is None else [conditions]
        if len(conditions) != len(names) or isinstance(conditions, dict):
            raise InputError(
                f"Expected the decoder's conditions, [{', '.join(names)}], or a dict of them.",
                outline(conditions),
            )
        return dict(zip(names, conditions, strict=True))


def shared_names(encoder: Ports, decoder: Ports) -> dict[str, str]:
    """Returns the names of the decoder's conditions in the data, by those of its inputs.

    Conditions of one name are the same; if no name is the same and all shapes are, those in the
    same places are.

    Raises:
      InputError: a condition of one name has two shapes.
    """
    ours, theirs = encoder.conditions, decoder.conditions
    for name in set(ours) & set(theirs):
        if ours[name].shape != theirs[name].shape:
            raise InputError(
                f"Expected the condition {name} to be of one shape in encoder and decoder.",
                f"{ours[name].shape} and {theirs[name].shape}",
            )
    shapes = [[tensor.shape for tensor in each.values()] for each in (ours, theirs)]
    in_places = shapes[0] == shapes[1] and not set(ours) & set(theirs)
    return dict(zip(theirs, ours if in_places else theirs, strict=True))
