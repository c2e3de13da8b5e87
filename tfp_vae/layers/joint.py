"""Several posteriors side by side, such as a continuous and a discrete one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.blockwise import SideBySide
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import ParametricLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class Joint(ParametricLayer):
    """`q(z|x) = prod_b q_b(z_b|x)`: z is the blocks z_b, each of a posterior layer, end to end.

    For a z with continuous and discrete entries, in one vector that a dense decoder takes. The KL
    against a `tfd.Blockwise` of priors of the same sizes is the sum of the blocks', each in closed
    form where TFP has it and by Monte Carlo elsewhere; `tfp_vae.distributions.divergence.blocks`
    gives each. Draws are reparameterized where those of all blocks are.

    Shapes: input `[..., n]`, the blocks' parameters one after the other, n the sum of their sizes;
    batch `[...]`; event: one vector, as long as the blocks' together; as a tensor a draw.

    Args:
      posteriors: the layers, each over vectors. The `convert_to_tensor_fn` and `seed` of this layer
        replace theirs.

    Raises:
      InputError: the posteriors are not at least one layer with a fixed number of parameters, over
        vectors; or one has a `KLDivergenceRegularizer` of its own.

    Source: Dupont (JointVAE), arXiv:1804.00104.

    Example:
      >>> from tfp_vae.layers import IndependentNormal, RelaxedOneHotCategorical
      >>> layer = Joint([IndependentNormal(2), RelaxedOneHotCategorical(3)])
      >>> q = layer(tf.zeros([5, layer.num_parameters]))
      >>> layer.num_parameters, q.event_shape.as_list()
      (7, [5])
    """

    def __init__(
        self,
        posteriors: Sequence[ParametricLayer],
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(convert_to_tensor_fn, seed, **kwargs)
        self.posteriors = list(posteriors)
        self.validate_args = validate_args
        if not self.posteriors or not all(hasattr(q, "num_parameters") for q in self.posteriors):
            raise InputError(
                "Expected distribution layers with a fixed number of parameters, such as "
                "IndependentNormal.",
                posteriors,
            )
        if any(layer.kl_regularizer is not None for layer in self.posteriors):
            raise InputError(
                "Expected the KLDivergenceRegularizer on the Joint, not on one of its posteriors.",
                posteriors,
            )
        self.has_density = all(layer.has_density for layer in self.posteriors)
        self.tells_training = any(layer.tells_training for layer in self.posteriors)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        for layer in self.posteriors:
            layer.build((None, layer.num_parameters))

    def make_distribution(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> tfd.Distribution:
        sizes = [layer.num_parameters for layer in self.posteriors]
        parts = tf.split(tf.convert_to_tensor(inputs), sizes, axis=-1)
        each = [
            layer.make_distribution(
                part, **({"training": training} if layer.tells_training else {})
            )
            for layer, part in zip(self.posteriors, parts, strict=True)
        ]
        shapes = [q.event_shape for q in each]
        if any(shape.rank != 1 for shape in shapes):
            raise InputError(f"{self.name}: expected posteriors over vectors.", shapes)
        return SideBySide(each, validate_args=self.validate_args)

    def default_prior(self, event_shape: Sequence[int]) -> tfd.Distribution:
        zeros = tf.zeros([1, self.num_parameters], self.compute_dtype)
        blocks = self.make_distribution(zeros).distributions
        pairs = zip(self.posteriors, blocks, strict=True)
        return tfd.Blockwise([layer.default_prior(tuple(q.event_shape)) for layer, q in pairs])

    def representative(self, distribution: tfd.Distribution) -> tf.Tensor:
        pairs = zip(self.posteriors, distribution.distributions, strict=True)
        return tf.concat([layer.representative(q) for layer, q in pairs], axis=-1)

    @staticmethod
    def params_size(posteriors: Sequence[ParametricLayer], name: str | None = None) -> int:
        return sum(layer.num_parameters for layer in posteriors)
