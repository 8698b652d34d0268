"""What watching costs: a training step of a small transformer on the CPU, watched and not, as a ratio.

    python tests/benchmarks/watching.py

Steps are made in turns in one process, forward, backward and the optimizer's; medians are divided. A step that is not
watched under --every is among them. The exit code is always 0, for a time is nothing to fail a build on.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from typing import TYPE_CHECKING

import torch
from torch import nn

from stablemax.watching.torch.watcher import Watcher
from stablemax.watching.watch_options import WatchOptions

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 3.0
WORDS, WIDTH, LENGTH, BATCH, LAYERS = 256, 128, 64, 8, 2


class Block(nn.Module):
    """Attention and a feed-forward part, each after a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.inner = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.inner(self.norms[1](x))


class Transformer(nn.Module):
    """A language model of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(words.shape[1])
        x = self.embedding(words)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(x)


def step_of() -> Callable[[], None]:
    torch.manual_seed(0)
    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    words = torch.randint(0, WORDS, (BATCH, LENGTH))

    def step() -> None:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(words).flatten(0, 1), words.roll(-1, 1).flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def spent(step: Callable[[], None], options: WatchOptions | None) -> tuple[float, int]:
    """Seconds that one step takes, and how many operations were checked."""
    watcher = None if options is None else Watcher(options)
    with contextlib.nullcontext() if watcher is None else watcher.watching():
        step()  # what is done once for each operation and line
        began = time.perf_counter()
        step()
        took_s = time.perf_counter() - began
    return took_s, 0 if watcher is None else watcher.result.operations


WAYS = {
    "every step": WatchOptions(repro=""),
    "a step that --from-step leaves out": WatchOptions(from_step=1000, repro=""),
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Watched steps over steps that are not.")
    parser.add_argument("--runs", type=int, default=15, help="counted runs of each")
    args = parser.parse_args(arguments)

    torch.set_num_threads(1)
    step = step_of()
    times: dict[str, list[float]] = {name: [] for name in ("plain", *WAYS)}
    checked = 0
    for is_counted in [False, False] + [True] * args.runs:
        for name, found in times.items():
            took_s, operations = spent(step, WAYS.get(name))
            checked = max(checked, operations)
            if is_counted:
                found.append(took_s)
    plain = statistics.median(times.pop("plain"))
    print(f"a training step of {1e3 * plain:.1f} ms, {checked // 2:,} operations, medians of {args.runs} in turns")
    for name, found in times.items():
        ratio = statistics.median(found) / plain
        print(f"{name:<36} {ratio:5.2f} x the step  limit {LIMIT:g}: {'ok' if ratio <= LIMIT else 'over'}")


if __name__ == "__main__":
    main()
