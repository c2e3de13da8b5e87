"""`tfp_vae`'s model in LiteRT: `export(path, format="litert")`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.peers.ours import perceptron
from benchmarks.work import Work


def serve(work: Work) -> None:
    """Reconstructions by an exported file, by one thread, as the interpreter has it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        perceptron(work).export(path, format="litert", endpoints=["serve"])
        interpreter = Interpreter(model_path=str(path))
    served = interpreter.get_signature_runner("serve")
    x = work.test[: work.batch_size, ..., np.newaxis]
    work.repeat(lambda: served(x=x)["output_0"], 300)
