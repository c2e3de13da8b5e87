"""How `pytorch` and `pytorch_compiled` train and evaluate a model that gives its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.work import Work

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """What `pytorch_compiled` has `torch.compile` for."""
    return function


def train(vae: nn.Module, x: Tensor, work: Work, compiled: Compile) -> None:
    """Times each epoch."""
    loss, optimizer = noisy(vae, compiled), adam(vae)
    for _ in range(work.epochs):
        with work.timed():
            for _ in epoch(loss, optimizer, x, work.batch_size):
                pass


def epoch(
    loss: Callable[[Tensor], Tensor], optimizer: torch.optim.Adam, x: Tensor, batch_size: int
) -> Iterator[None]:
    """Yields after each step."""
    for rows in torch.randperm(len(x)).split(batch_size)[: len(x) // batch_size]:
        optimizer.zero_grad()
        loss(x[rows]).backward()
        optimizer.step()
        yield


def noisy(vae: nn.Module, compiled: Compile) -> Callable[[Tensor], Tensor]:
    """The loss of images that are binarized anew."""
    return compiled(lambda x: vae((torch.rand_like(x) < x).float()))


def adam(vae: nn.Module, rate: float = 1e-3) -> torch.optim.Adam:
    """In one kernel."""
    return torch.optim.Adam(vae.parameters(), rate, fused=True)


@torch.no_grad()
def evaluate(vae: nn.Module, x: Tensor, chunk: int = 1000) -> float:
    """The mean over images of zeros and ones."""
    return sum(vae(part).item() * len(part) for part in x.split(chunk)) / len(x)
