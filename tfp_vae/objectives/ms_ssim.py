"""Images held to their reconstructions by their structure, at several scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.perceptual import Perceptual
from tfp_vae.schedules import Scheduled

_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_LEAST = 1e-6  # of a factor, where its power still has a slope


@keras.saving.register_keras_serializable(package="tfp_vae")
class MSSSIM(Perceptual):
    """`weight (1 - MS-SSIM(x, E[x|z])) + beta KL`: structure at several scales in place of pixels.

    `MS-SSIM = l_M^a_M prod_j cs_j^a_j`, of the local luminance `l = (2 m m' + c) / (m^2 + m'^2 +
    c)` at the coarsest scale, and at each of contrast and structure `cs = (2 s_xx' + c') / (s_x^2 +
    s_x'^2 + c')`, as `tf.image.ssim_multiscale` has it; pixels are in 0..1. Images of 28 by 28 have
    three scales and windows of 7 by 7, those of 8 by 8 two and windows of 4 by 4; the powers of the
    scales that are there sum to 1. There is no log p(x): the measure is no density.

    Args:
      weight: of the distance, which is in 0..1: a number, a variable or a schedule.
      beta: of the KL, likewise.

    Raises:
      InputError: x is not images, (height, width, channels), of at least 4 by 4.

    Source: Snell et al., arXiv:1511.06409; Wang et al., Asilomar 2003.

    Example:
      >>> x = tf.random.stateless_uniform([2, 8, 8, 1], [0, 0])
      >>> MSSSIM().distance(x, x).numpy().round(4).tolist()
      [0.0, 0.0]
    """

    takes_several = True

    @checked
    def __init__(self, weight: Scheduled = 100.0, beta: Scheduled = 1.0) -> None:
        super().__init__(weight, beta)

    def bind_data(self, observed: Mapping[str, Sequence[int | None]]) -> None:
        shape = tuple(next(iter(observed.values())))
        if len(shape) != 3 or any(side is None or side < 4 for side in shape[:2]):
            raise InputError(
                "MS-SSIM is of images of at least 4 by 4: expected (height, width, channels).",
                shape,
            )

    def distance(self, x: tf.Tensor, again: tf.Tensor) -> tf.Tensor:
        return 1 - ms_ssim(x, again)


def ms_ssim(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Returns the MS-SSIM of images in 0..1, `[n]`; its slope is finite everywhere.

    That of `tf.image.ssim_multiscale` is NaN where the structures of x and y are opposite.
    """
    count, size = scales(min(x.shape[1:3]))
    powers = np.array(_POWERS[:count]) / sum(_POWERS[:count])
    total = tf.ones([], x.dtype)
    for number, power in enumerate(powers):
        if number:
            x, y = (_halved(image) for image in (x, y))
        luminance, structure = _local(x, y, size)
        last = luminance * structure if number == count - 1 else structure
        factor = tf.maximum(tf.reduce_mean(last, axis=[1, 2]), _LEAST)
        total *= tf.pow(factor, tf.cast(power, x.dtype))
    return tf.reduce_mean(total, axis=-1)


def scales(side: int) -> tuple[int, int]:
    """Returns the number of scales for images whose shorter side this is, and the window's size.

    Example:
      >>> [scales(side) for side in (8, 28, 64, 256)]
      [(2, 4), (3, 7), (4, 8), (5, 11)]
    """
    least = 7 if side >= 14 else 4
    count = max(k for k in range(1, 6) if side // 2 ** (k - 1) >= least)
    return count, min(11, side // 2 ** (count - 1))


def _halved(image: tf.Tensor) -> tf.Tensor:
    """The means over 2 by 2 pixels; a last odd row or column is there twice, as in TensorFlow."""
    odd = [[0, 0], *([0, side % 2] for side in image.shape[1:3]), [0, 0]]
    return tf.nn.avg_pool2d(tf.pad(image, odd, "SYMMETRIC"), 2, 2, "VALID")


def _local(x: tf.Tensor, y: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Luminance, and contrast with structure, in each window: a Gaussian of 1.5 pixels."""
    at = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * 1.5**2))
    window = np.outer(at, at) / at.sum() ** 2
    channels = x.shape[-1]
    kernel = tf.tile(tf.constant(window, x.dtype)[..., tf.newaxis, tf.newaxis], [1, 1, channels, 1])

    def mean(image: tf.Tensor) -> tf.Tensor:
        return tf.nn.depthwise_conv2d(image, kernel, [1, 1, 1, 1], "VALID")

    c_luminance, c_structure = 0.01**2, 0.03**2
    m_x, m_y = mean(x), mean(y)
    both, squares = m_x * m_y, m_x**2 + m_y**2
    luminance = (2 * both + c_luminance) / (squares + c_luminance)
    structure = (2 * (mean(x * y) - both) + c_structure) / (
        mean(x**2 + y**2) - squares + c_structure
    )
    return luminance, structure
