"""The programs of `pytorch` with `torch.compile`; the served model is compiled ahead of time.

Both need a C++ compiler.
"""

from __future__ import annotations

import functools
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.peers import pytorch
from benchmarks.peers import torch_models as models
from benchmarks.work import Work

_compile = torch.compile
mlp = functools.partial(pytorch.mlp, compiled=_compile)
conv = functools.partial(pytorch.conv, compiled=_compile)
iwae = functools.partial(pytorch.iwae, compiled=_compile)
likelihood = functools.partial(pytorch.likelihood, compiled=_compile)
encode = functools.partial(pytorch.encode, compiled=_compile)
sample = functools.partial(pytorch.sample, compiled=_compile)
start = functools.partial(pytorch.start, compiled=_compile)
goal = functools.partial(pytorch.goal, compiled=_compile)


def serve(work: Work) -> None:
    """Reconstructions by a package of AOTInductor, saved and loaded."""
    model = models.Reconstruct(*models.perceptrons(work)).eval()
    x = work.test[: work.batch_size].reshape(-1, 784)
    with TemporaryDirectory() as folder, torch.inference_mode():
        exported = torch.export.export(model, (torch.from_numpy(x),))
        path = str(Path(folder) / "model.pt2")
        torch._inductor.aoti_compile_and_package(exported, package_path=path)
        served = torch._inductor.aoti_load_package(path)
        work.repeat(lambda: served(torch.from_numpy(x)).numpy(), 300)
