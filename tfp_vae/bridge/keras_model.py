"""`keras.Model`, whose attributes and arguments a type checker knows: see the stub beside this."""

from keras import Model as KerasModel
from keras.callbacks import History

__all__ = ["History", "KerasModel"]
