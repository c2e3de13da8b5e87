"""TFP's classes of distributions of distributions.

Those of `tfd` are subclasses, for composite tensors: of other parts TFP makes the classes here.
"""

from __future__ import annotations

from tensorflow_probability import distributions as tfd

Blockwise = tfd.Blockwise.__bases__[0]
Independent = tfd.Independent.__bases__[0]
Mixture = tfd.Mixture.__bases__[0]
MixtureSameFamily = tfd.MixtureSameFamily.__bases__[0]
Sample = tfd.Sample.__bases__[0]
TransformedDistribution = tfd.TransformedDistribution.__bases__[0]
