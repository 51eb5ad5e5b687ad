"""Two networks that predict the next item of a sequence, in PyTorch: a GRU, and SASRec.

This file decides their layers, their loss and their training. Both read a sequence from left to right, score every item
by the product of the last state and the item's embedding (input and output share the embeddings), and are trained by
softmax cross-entropy over *all* items at every place of every row, with Adam. The GRU follows Hidasi et al.,
"Session-based Recommendations with Recurrent Neural Networks" (ICLR 2016), SASRec follows Kang & McAuley,
"Self-Attentive Sequential Recommendation" (ICDM 2018); both originals sample negatives instead.

PyTorch is imported inside functions only, because Corrente doesn't depend on it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.protocol import WrongInput

Numbers = NDArray[np.int64]
Score = Callable[[Numbers], NDArray[np.float32]]
"""Scores of all items by number, (tests, items + 1), for contexts (tests, length); every context has an item."""

NETWORKS = ("gru", "sasrec")


class MissingTorch(RuntimeError):
    """PyTorch can't be imported. The message has the command that installs it."""


@dataclass(frozen=True)
class NetworkSettings:
    """Sizes and training of a network.

    Attributes:
        dimensions: size of embeddings and states.
        length: most items of a sequence.
        epochs: passes over the training rows.
        batch: rows of one step.
        rate: learning rate of Adam.
        dropout: share of embeddings and activations that is dropped in training.
        blocks, heads: attention blocks of SASRec, and heads of each.
        seed: seed of weights, order and dropout.
        threads: threads of PyTorch on the CPU; 0 leaves PyTorch's own choice.
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
    """

    dimensions: int = 256
    length: int = 50
    epochs: int = 10
    batch: int = 128
    rate: float = 0.001
    dropout: float = 0.2
    blocks: int = 2
    heads: int = 2
    seed: int = 0
    threads: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training rows.

    Attributes:
        number: number of the pass, from 1.
        loss: mean cross-entropy over its targets, in nats.
        seconds: duration of the pass.
        score: scores by the network as it is after the pass; the next pass changes it.
    """

    number: int
    loss: float
    seconds: float
    score: Score


def import_torch() -> Any:
    """Import PyTorch.

    Raises:
        MissingTorch: it isn't installed.
    """
    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingTorch(
            "PyTorch isn't installed; it is in the extra `neural`: pip install 'corrente[neural]' "
            "(in a checkout: .venv/bin/pip install 'torch>=2')"
        ) from None


def device_of(settings: NetworkSettings) -> str:
    """Name of the device that is trained on: `cpu` or `cuda`.

    Raises:
        MissingTorch: PyTorch isn't installed.
        WrongInput: a GPU is wanted and PyTorch sees none.
    """
    available = import_torch().cuda.is_available()
    if settings.device == "cuda" and not available:
        raise WrongInput("--device cuda: PyTorch sees no GPU on this machine; --device cpu works everywhere")
    if settings.device != "auto":
        return settings.device
    return "cuda" if available else "cpu"


def train(kind: str, rows: tuple[Numbers, Numbers], items: int, settings: NetworkSettings) -> Iterator[Epoch]:
    """Train a network from scratch, and give it back after each epoch.

    Args:
        kind: one of `NETWORKS`.
        rows: items, and the item that follows each of them, (rows, length) each; 0 is padding, or no target.
        items: count of items, numbered from 1.
        settings: sizes and training.

    Raises:
        MissingTorch: PyTorch isn't installed.
        WrongInput: a GPU is wanted and PyTorch sees none.
    """
    torch = import_torch()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    device = device_of(settings)
    network = _network(torch, kind, items, settings).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.rate)
    shuffle = np.random.default_rng(settings.seed)
    for number in range(1, settings.epochs + 1):
        started = time.perf_counter()
        network.train()
        loss_sum = targets_seen = 0.0
        order = shuffle.permutation(len(rows[0]))
        for first in range(0, len(order), settings.batch):
            batch, targets = _batch_of(rows, order[first : first + settings.batch])
            wanted = torch.from_numpy(targets).to(device)
            states = network(torch.from_numpy(batch).to(device))[wanted > 0]
            logits = states @ network.items.weight[1:].T
            loss = torch.nn.functional.cross_entropy(logits, wanted[wanted > 0] - 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += float(loss.detach()) * len(states)
            targets_seen += len(states)
        yield Epoch(
            number, loss_sum / max(targets_seen, 1), time.perf_counter() - started, _scorer(torch, network, device)
        )


def _batch_of(rows: tuple[Numbers, Numbers], chosen: Numbers) -> tuple[Numbers, Numbers]:
    """Some rows, without the columns that are padding in all of them."""
    items, targets = rows[0][chosen], rows[1][chosen]
    width = int(np.flatnonzero(items.any(axis=0))[-1]) + 1
    return np.ascontiguousarray(items[:, :width]), np.ascontiguousarray(targets[:, :width])


def _scorer(torch: Any, network: Any, device: str) -> Score:
    def score(contexts: Numbers) -> NDArray[np.float32]:
        network.eval()
        sizes = (contexts > 0).sum(axis=1)
        width = int(sizes.max())
        with torch.no_grad():
            states = network(torch.from_numpy(np.ascontiguousarray(contexts[:, :width])).to(device))
            last = states[torch.arange(len(sizes), device=device), torch.from_numpy(sizes - 1).to(device)]
            scores: NDArray[np.float32] = (last @ network.items.weight.T).cpu().numpy()
            return scores

    return score


def _network(torch: Any, kind: str, items: int, settings: NetworkSettings) -> Any:
    """A module that maps items (batch, places) to states (batch, places, dimensions); `items` is its embedding."""
    nn: Any = torch.nn
    size = settings.dimensions

    class Gru(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.Embedding(items + 1, size, padding_idx=0)
            self.dropout = nn.Dropout(settings.dropout)
            self.states = nn.GRU(size, size, batch_first=True)

        def forward(self, sequence: Any) -> Any:
            states, _ = self.states(self.dropout(self.items(sequence) * size**0.5))
            return self.dropout(states)

    class SasRec(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.Embedding(items + 1, size, padding_idx=0)
            self.places = nn.Embedding(settings.length, size)
            self.dropout = nn.Dropout(settings.dropout)
            block = nn.TransformerEncoderLayer(
                size, settings.heads, size, settings.dropout, batch_first=True, norm_first=True
            )
            self.blocks = nn.TransformerEncoder(
                block, settings.blocks, norm=nn.LayerNorm(size), enable_nested_tensor=False
            )

        def forward(self, sequence: Any) -> Any:
            width = sequence.shape[1]
            places = torch.arange(width, device=sequence.device)
            later = torch.ones(width, width, dtype=torch.bool, device=sequence.device).triu(1)
            embedded = self.items(sequence) * size**0.5 + self.places(places)
            return self.blocks(self.dropout(embedded), mask=later, is_causal=True)

    network: Any = {"gru": Gru, "sasrec": SasRec}[kind]()
    for embedding in (network.items, getattr(network, "places", None)):
        if embedding is not None:
            nn.init.normal_(embedding.weight, std=0.02)
    with torch.no_grad():
        network.items.weight[0] = 0
    return network
