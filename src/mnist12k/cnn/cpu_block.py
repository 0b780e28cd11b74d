"""A block of the network in training on a CPU: the same function in fewer passes over memory.

On a CPU PyTorch's batch norm and dropout take longer than the convolutions. Here batch norm works
on rows long enough for vector instructions; ReLU comes after the max-pool, with which it commutes;
and dropout adds its zeros to those of ReLU, through which no gradient passes anyway.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from mnist12k.cnn.network import Block, Projection


def forward(x: Tensor, source: Tensor | None, block: "Block") -> Tensor:
    """Compute a `Block` of network.py, and update the running statistics.

    The convolutions' biases are omitted, since batch norm subtracts them. Dropout's scale is
    applied by batch norm: max-pool and ReLU commute with a positive factor.
    """
    dropout = block.dropout
    scale = 1 / (1 - dropout.rate)
    x = convolve_and_norm(x, block, scale)
    if source is not None:
        if block.projection is None:
            x = torch.add(x, source, alpha=scale)
        else:
            x = x + convolve_and_norm(source, block.projection, scale)
    if block.pool is not None:
        x = block.pool(x)
    output: Tensor = ReluThenDropout.apply(x, dropout.rate, dropout.generator)
    return output


def convolve_and_norm(x: Tensor, layers: "Block | Projection", scale: float) -> Tensor:
    """Convolve, and apply batch norm with its result multiplied by `scale`."""
    conv, norm = layers.conv, layers.norm
    x = F.conv2d(x, conv.weight, padding=conv.padding)
    output: Tensor = BatchNorm.apply(x, norm.weight * scale, norm.bias * scale, norm, conv.bias)
    return output


class BatchNorm(torch.autograd.Function):
    """Batch norm over the n * h * w values of each channel (Ioffe and Szegedy, 2015)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, conv_bias: Tensor
    ) -> Tensor:
        """Normalise `x`, which lacks `conv_bias` of shape (c,); update the statistics of `norm`."""
        x = x.contiguous(memory_format=torch.channels_last)
        result = torch.empty_like(x)
        (rows, result_rows), row, channel_means = layout(x, result)
        squares = torch.mul(rows, rows, out=result_rows)  # overwritten below
        mean, mean_square = channel_means(rows, squares)
        variance = torch.addcmul(mean_square, mean, mean, value=-1)
        count = x.numel() // x.shape[1]
        update_statistics(norm, mean + conv_bias, variance * (count / (count - 1)))
        scale = (variance + norm.eps).rsqrt().to(x.dtype)
        mean = mean.to(x.dtype)
        ctx.save_for_backward(x, weight, mean, scale)
        slope = weight * scale
        offset = torch.addcmul(bias, mean, slope, value=-1)
        torch.addcmul(row(offset), rows, row(slope), out=result_rows)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients; that of `conv_bias`, which has no effect, is zero."""
        x, weight, mean, scale = ctx.saved_tensors
        d_result = gradients[0].contiguous(memory_format=torch.channels_last)
        d_x = torch.empty_like(x)
        (rows, d_result_rows, d_x_rows), row, channel_means = layout(x, d_result, d_x)
        products = torch.mul(d_result_rows, rows, out=d_x_rows)  # overwritten below
        d_bias, product = channel_means(d_result_rows, products).to(x.dtype)
        d_weight = torch.addcmul(product, mean, d_bias, value=-1) * scale
        slope = weight * scale
        by_x = slope * scale * -d_weight
        constant = torch.addcmul(slope * d_bias, by_x, mean).neg_()
        torch.addcmul(row(constant), rows, row(by_x), out=d_x_rows)
        d_x_rows.addcmul_(d_result_rows, row(slope))
        count = x.numel() // x.shape[1]
        return d_x, d_weight * count, d_bias * count, None, torch.zeros_like(d_bias)


def layout(*tensors: Tensor) -> tuple[list[Tensor], Callable[..., Tensor], Callable[..., Tensor]]:
    """Return channels-last tensors of shape (n, c, h, w) as (n * h, w * c), and two functions.

    The first repeats values of shape (c,) into a row; the second returns the channel means of k
    such tensors, float64 of shape (k, c).
    """
    n, c, h, w = tensors[0].shape
    return (
        [tensor.permute(0, 2, 3, 1).view(n * h, w * c) for tensor in tensors],
        lambda values: values.expand(w, c).reshape(-1),
        lambda *rows: (
            torch.stack([each.mean(dim=0) for each in rows])
            .view(-1, w, c)
            .mean(dim=1, dtype=torch.float64)
        ),
    )


def update_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics as `norm` itself does in training."""
    assert norm.momentum is not None
    for running, value in ((norm.running_mean, mean), (norm.running_var, variance)):
        assert running is not None
        running.lerp_(value.to(running.dtype), norm.momentum)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)


class ReluThenDropout(torch.autograd.Function):
    """ReLU, then dropout without scaling, in place; zeros in the result have a zero gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
        """Zero negative values, and others at random."""
        ctx.mark_dirty(x)
        output = drop_(x.clamp_min_(0), rate, generator)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of `x`."""
        (output,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradients[0], output, 0), None, None


def drop_(x: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Zero each value of `x`, on a CPU and channels last, with probability `rate`, in place.

    The gaps between zeros are geometric (Devroye, 1986, X.2): one draw per zero, not per value.
    """
    if rate == 0:
        return x
    flat = x.permute(0, 2, 3, 1).view(-1)
    expected = rate * len(flat)
    count = math.ceil(expected + 4 * expected**0.5)  # rarely too few
    last = -1
    while last < len(flat):
        uniform = 1 - torch.empty(count).uniform_(generator=generator)  # above 0
        gaps = uniform.log_().mul_(1 / math.log1p(-rate)).long() + 1
        places = gaps.cumsum(dim=0) + last
        flat.index_fill_(0, places[: int(torch.searchsorted(places, len(flat)))], 0)
        last = int(places[-1])
    return x
