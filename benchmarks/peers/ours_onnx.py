"""`tfp_vae`'s model in ONNX's runtime: `export(path, format="onnx")`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

from benchmarks.peers.ours import perceptron
from benchmarks.work import Work


def serve(work: Work) -> None:
    """Reconstructions by an exported file, on as many threads as the runtime takes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        perceptron(work).export(path, format="onnx")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = work.test[: work.batch_size, ..., np.newaxis]
    work.repeat(lambda: session.run(None, {"x": x})[0], 300)
