"""A block of the network in training on a CPU: the same function, in fewer passes over memory.

There PyTorch's own batch norm and dropout take longer than the convolutions. Here batch norm runs
over rows so long that every operation fills the processor's registers; ReLU comes after the
max-pool, with which it commutes; and dropout adds its zeros to ReLU's, where no gradient passes
anyway.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def forward(
    x: Tensor,
    conv: nn.Conv2d,
    norm: nn.BatchNorm2d,
    pool: nn.MaxPool2d | None,
    dropout: float,
    generator: torch.Generator | None,
) -> Tensor:
    """Map (n, channels_in, h, w) to (n, channels_out, h', w'), and move the running statistics.

    The convolution goes without its bias, which batch norm would take away again. What dropout
    keeps is scaled by batch norm: max-pool and ReLU let a positive factor pass.
    """
    x = F.conv2d(x, conv.weight, padding=conv.padding)
    scale = 1 / (1 - dropout)
    x = BatchNorm.apply(x, norm.weight * scale, norm.bias * scale, norm, conv.bias)
    if pool is not None:
        x = pool(x)
    result: Tensor = ReluThenDropout.apply(x, dropout, generator)
    return result


class BatchNorm(torch.autograd.Function):
    """Batch norm over the n * h * w values of each channel (Ioffe and Szegedy, 2015)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, left_out: Tensor
    ) -> Tensor:
        """Normalise `x` to which `left_out`, of shape (c,), was not added; `norm` keeps count."""
        x = x.contiguous(memory_format=torch.channels_last)
        result = torch.empty_like(x)
        (rows, result_rows), row, channel_means = layout(x, result)
        squares = torch.mul(rows, rows, out=result_rows)  # soon overwritten
        mean, mean_square = channel_means(rows, squares)
        variance = torch.addcmul(mean_square, mean, mean, value=-1)
        count = x.numel() // x.shape[1]
        move_statistics(norm, mean + left_out, variance * (count / (count - 1)))
        scale = (variance + norm.eps).rsqrt().to(x.dtype)
        mean = mean.to(x.dtype)
        ctx.save_for_backward(x, weight, mean, scale)
        slope = weight * scale
        offset = torch.addcmul(bias, mean, slope, value=-1)
        torch.addcmul(row(offset), rows, row(slope), out=result_rows)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients; that of `left_out`, which changes no result, is zero."""
        x, weight, mean, scale = ctx.saved_tensors
        above = gradients[0].contiguous(memory_format=torch.channels_last)
        of_x = torch.empty_like(x)
        (rows, above_rows, of_x_rows), row, channel_means = layout(x, above, of_x)
        products = torch.mul(above_rows, rows, out=of_x_rows)
        of_shift, product = channel_means(above_rows, products).to(x.dtype)
        of_slope = torch.addcmul(product, mean, of_shift, value=-1) * scale
        slope = weight * scale
        by_x = slope * scale * -of_slope
        constant = torch.addcmul(slope * of_shift, by_x, mean).neg_()
        torch.addcmul(row(constant), rows, row(by_x), out=of_x_rows)
        of_x_rows.addcmul_(above_rows, row(slope))
        count = x.numel() // x.shape[1]
        return of_x, of_slope * count, of_shift * count, None, torch.zeros_like(of_shift)


def layout(*tensors: Tensor) -> tuple[list[Tensor], Callable[..., Tensor], Callable[..., Tensor]]:
    """Return tensors of one shape, (n, c, h, w) channels last, as (n * h, w * c); and functions.

    One repeats (c,) values into a row; one takes the means of k such tensors, float64 of (k, c).
    """
    n, c, h, w = tensors[0].shape
    return (
        [tensor.permute(0, 2, 3, 1).view(n * h, w * c) for tensor in tensors],
        lambda values: values.expand(w, c).reshape(-1),
        lambda *rows: (
            torch.stack([some.mean(dim=0) for some in rows])
            .view(-1, w, c)
            .mean(dim=1, dtype=torch.float64)
        ),
    )


def move_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as `norm` itself does in training."""
    assert norm.momentum is not None
    for running, value in ((norm.running_mean, mean), (norm.running_var, variance)):
        assert running is not None
        running.lerp_(value.to(running.dtype), norm.momentum)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)


class ReluThenDropout(torch.autograd.Function):
    """ReLU, then zeros at random, in place: where the result is zero, no gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
        """Cut off what is negative, and drop without scaling up what is kept."""
        ctx.mark_dirty(x)
        result = drop_(x.clamp_min_(0), rate, generator)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of `x`."""
        (result,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradients[0], result, 0), None, None


def drop_(x: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Set each value of `x`, on a CPU and channels last, to 0 with probability `rate`, in place.

    From one zero to the next it is as far as the geometric distribution says (Devroye, 1986, X.2):
    it takes one draw a zero instead of one a value.
    """
    if rate == 0:
        return x
    flat = x.permute(0, 2, 3, 1).view(-1)
    expected = rate * len(flat)
    count = math.ceil(expected + 4 * expected**0.5)  # seldom too few
    last = -1
    while last < len(flat):
        uniform = 1 - torch.empty(count).uniform_(generator=generator)  # above 0
        gaps = uniform.log_().mul_(1 / math.log1p(-rate)).long() + 1
        places = gaps.cumsum(dim=0) + last
        flat.index_fill_(0, places[: int(torch.searchsorted(places, len(flat)))], 0)
        last = int(places[-1])
    return x
