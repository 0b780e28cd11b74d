"""One batch computed by several threads, each with a part of it: the same step, in less time.

PyTorch by itself shares out every single operation, some hundred a step, and each time waits for
the slowest thread. Here a thread takes its part of the batch through the whole network, and waits
only where the mathematics does: batch norm's mean and variance are those of the whole batch.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

# More threads than these have not been measured.
LARGEST = 2

Compute = Callable[[Tensor, int], list[Tensor]]


class Team:
    """As many threads as `size`, known by the numbers from 0; they add up tensors between them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pool = ThreadPoolExecutor(size, initializer=torch.set_num_threads, initargs=(1,))
        self.barrier = threading.Barrier(size)
        self.own = threading.local()
        self.slots: list[list[Tensor]] = [[torch.empty(0)] * size for _ in range(2)]

    def sum(self, compute: Compute, batch: Tensor) -> list[Tensor]:
        """Let each thread `compute` its part of `batch`; return the sum of what they return.

        A team of one computes in the calling thread.
        """
        if self.size == 1:
            return compute(batch, 0)
        parts = enumerate(batch.tensor_split(self.size))
        futures = [self.pool.submit(self._run, compute, part, number) for number, part in parts]
        results = [future.result() for future in futures]
        return [reduce(torch.add, values) for values in zip(*results, strict=True)]

    def total(self, value: Tensor) -> Tensor:
        """Add up the `value` of every thread, in the order of their numbers; all must call this."""
        slots = self.slots[self.own.calls % 2]  # the other ones may still be read
        self.own.calls += 1
        slots[self.own.number] = value
        self.barrier.wait()
        return torch.stack(slots).sum(dim=0)

    @property
    def number(self) -> int:
        """The calling thread's number."""
        return int(getattr(self.own, "number", 0))

    def _run(self, compute: Compute, part: Tensor, number: int) -> list[Tensor]:
        self.own.number, self.own.calls = number, 0
        try:
            return compute(part, number)
        except BaseException:
            self.barrier.abort()  # the others would wait for ever
            raise


@contextmanager
def team_of(size: int) -> Iterator[Team]:
    """Yield a team, and keep PyTorch itself to one thread meanwhile."""
    team, threads = Team(size), torch.get_num_threads()
    torch.set_num_threads(1 if size > 1 else threads)
    try:
        yield team
    finally:
        team.pool.shutdown()
        torch.set_num_threads(threads)


class SharedNorm(torch.autograd.Function):
    """Batch norm whose statistics are of a whole team's batch."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, team: Team
    ) -> Tensor:
        """Normalise this thread's part; the first thread moves the running statistics."""
        flat, row, channel_sum = layout(x)
        here = torch.stack(
            [
                torch.full_like(bias, x.numel() // x.shape[1]),
                channel_sum(flat),
                channel_sum(flat * flat),
            ]
        )
        count, first, second = team.total(here.double())
        mean = first / count
        variance = second / count - mean * mean
        if team.number == 0 and norm.running_mean is not None and norm.running_var is not None:
            assert norm.momentum is not None
            norm.running_mean.lerp_(mean.to(x.dtype), norm.momentum)
            norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            norm.running_var.lerp_((variance * count / (count - 1)).to(x.dtype), norm.momentum)
        mean, count = mean.to(x.dtype), count.to(x.dtype)
        scale = (variance + norm.eps).rsqrt().to(x.dtype)
        ctx.save_for_backward(x, weight, mean, scale, count)
        ctx.team = team
        slope = weight * scale
        return shaped(torch.addcmul(row(bias - mean * slope), flat, row(slope)), x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of this thread's part."""
        x, weight, mean, scale, count = ctx.saved_tensors
        flat, row, channel_sum = layout(x)
        above, _, _ = layout(gradients[0].contiguous(memory_format=torch.channels_last))
        of_bias = channel_sum(above)
        of_weight = (channel_sum(above * flat) - mean * of_bias) * scale
        bias_total, weight_total = ctx.team.total(torch.stack([of_bias, of_weight])) / count
        slope = weight * scale
        by_x = -slope * scale * weight_total
        of_x = torch.addcmul(row(-slope * bias_total - by_x * mean), flat, row(by_x))
        of_x.addcmul_(above, row(slope))
        return shaped(of_x, x), of_weight, of_bias, None, None


def layout(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return (n, c, h, w), channels last, as (n * h, w * c), and what goes with that.

    That is a function which repeats (c,) values into a row, and one which sums to (c,).
    Rows so long let PyTorch use the processor's whole registers.
    """
    n, c, h, w = x.shape
    return (
        x.permute(0, 2, 3, 1).reshape(n * h, w * c),
        lambda values: values.expand(w, c).reshape(-1),
        lambda flat: flat.sum(dim=0).view(w, c).sum(dim=0),
    )


def shaped(flat: Tensor, x: Tensor) -> Tensor:
    """Return rows as `layout` makes them in the shape of `x`."""
    n, c, h, w = x.shape
    return flat.view(n, h, w, c).permute(0, 3, 1, 2)
