"""Checks of the arguments of all layers, without a word in each."""

from __future__ import annotations

from tfp_vae.arguments.rules import checked


class ChecksArguments:
    """A layer whose subclasses in this package check the arguments that they are given.

    The rules of `tfp_vae.arguments` hold the constructor and `params_size`; names of a user's
    arguments may mean something else, as those of a class with `checks=False` do.

    Example:
      >>> from tfp_vae.layers import IndependentNormal
      >>> IndependentNormal(0)
      Traceback (most recent call last):
      tfp_vae.errors.InputError: IndependentNormal: expected event_shape to be an integer >= 1, or a sequence of them. Received: 0
    """  # noqa: E501

    def __init_subclass__(cls, checks: bool = True, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if not checks or cls.__module__.split(".")[0] != "tfp_vae":
            return
        for name in {"__init__", "params_size"} & set(vars(cls)):
            method = vars(cls)[name]
            if isinstance(method, (classmethod, staticmethod)):
                setattr(cls, name, type(method)(checked(method.__func__)))
            else:
                setattr(cls, name, checked(method))
