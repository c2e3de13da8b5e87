"""The cases, their sizes, and what this package sets out to be ahead by: two tables."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Case:
    """One piece of work that is timed.

    Attributes:
      title: what is done.
      unit: what one entry of the seconds is of.
      run: the function of a peer's module.
      sizes: arguments of `Work`.
      warm_up: entries at the front that are left out, as they hold compilation.
      check: what all peers find alike (a key of `Work.found`), and by how much it may differ, nats.
    """

    title: str
    unit: str
    run: str
    sizes: dict[str, Any]
    warm_up: int = 0
    check: tuple[str, float] | None = None


CASES = {
    "mlp": Case(
        "MLP 784-200-200-50, batch 128",
        "an epoch of 60,000 images",
        "mlp",
        {"epochs": 5},
        warm_up=1,
        check=("negative_elbo", 2.0),
    ),
    "conv": Case(
        "TFP's convolutional VAE, batch 256",
        "an epoch of 2,560 images",
        "conv",
        {"epochs": 4, "latent_size": 16, "batch_size": 256, "train_images": 2560},
        warm_up=1,
        check=("negative_elbo", 30.0),  # after 40 steps a VAE is far from anywhere
    ),
    "iwae": Case(
        "IWAE with 50 samples, the same MLP",
        "an epoch of 6,400 images",
        "iwae",
        {"epochs": 4, "num_samples": 50, "train_images": 6400, "test_images": 1000},
        warm_up=1,
        check=("negative_bound", 8.0),
    ),
    "likelihood": Case(
        "log p(x), 5,000 samples an image, the same MLP",
        "200 images",
        "likelihood",
        {"epochs": 1, "num_samples": 5000, "train_images": 12800, "test_images": 200},
        check=("log_likelihood", 8.0),
    ),
    "start": Case(
        "from a cold process to the end of the first epoch",
        "start, imports and compilation included",
        "start",
        {"epochs": 1},
    ),
    "goal": Case(
        "from a cold process to a negative test ELBO below 95 nats",
        "MLP 784-400-400-50, swish, 128 a batch, Adam with warm-up and cosine decay",
        "goal",
        {"epochs": 13, "widths": (400, 400), "rate": 4e-3},
    ),
    "encode": Case("posterior means", "60,000 images", "encode", {}),
    "sample": Case("images drawn from the prior", "10,000 images", "sample", {}),
    "serve_1": Case("a saved model's reconstructions", "1 image", "serve", {"batch_size": 1}),
    "serve_256": Case(
        "a saved model's reconstructions", "256 images", "serve", {"batch_size": 256}
    ),
}

# How many times as fast as the peer: at least.
BARS = {
    "mlp": {
        "pytorch": 1.6,
        "pytorch_compiled": 1.6,
        "jax_scan": 1.25,
        "tfp_layers": 1.8,
        "products": 0.5,
    },
    "conv": {"pytorch": 1.3, "pytorch_compiled": 1.3, "tfp_layers": 1.0},
    "iwae": {"pytorch": 1.5, "pytorch_compiled": 1.5},
    "likelihood": {"pythae_trainer": 4.0, "products": 1 / 1.7},
    "goal": dict.fromkeys(["pytorch", "pytorch_compiled", "jax_scan", "tfp_layers"], 2.0),
    **{
        case: dict.fromkeys(
            ["pytorch", "pytorch_compiled", "jax_scan", "tfp_layers", "pythae_trainer"], 1.0
        )
        for case in ("encode", "sample", "serve_1", "serve_256")
    },
}

PEERS = {  # module: what the table calls it
    "ours": "tfp_vae",
    "ours_onnx": "tfp_vae, by onnxruntime",
    "ours_litert": "tfp_vae, by LiteRT",
    "pytorch": "PyTorch",
    "pytorch_compiled": "PyTorch, torch.compile",
    "jax_scan": "JAX, an epoch in one scan",
    "tfp_layers": "tfp.layers on tf_keras",
    "pythae_trainer": "Pythae",
    "products": "bare matrix products",
}
