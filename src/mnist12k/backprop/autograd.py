"""Gradients and curvature of the 2-2-2 network by torch's autograd in float64, as a check.

The loss is written with matrices here, independently of the formulas that it checks.
"""

import numpy as np
import torch

from mnist12k.backprop.network import Array
from mnist12k.backprop.settings import SmallNetwork


def autograd_gradients(network: SmallNetwork, weights: Array) -> Array:
    """Return dE_total/dw at weights of shape (8, n), in the same shape."""
    w = torch.tensor(weights.T, requires_grad=True)
    (slopes,) = torch.autograd.grad(_loss(network, w).sum(), w)
    return np.asarray(slopes.T)


def sharpness(network: SmallNetwork, weights: Array) -> Array:
    """Return the largest eigenvalue of E_total's Hessian, of shape (n,), at weights (8, n).

    Plain gradient descent is stable around a minimum where this is below 2 / learning rate.
    """
    w = torch.tensor(weights.T, requires_grad=True)
    (slopes,) = torch.autograd.grad(_loss(network, w).sum(), w, create_graph=True)
    hessians = [
        torch.autograd.grad(slope.sum(), w, retain_graph=True)[0] for slope in slopes.unbind(-1)
    ]
    return np.asarray(torch.linalg.eigvalsh(torch.stack(hessians, dim=-1))[:, -1])


def _loss(network: SmallNetwork, w: torch.Tensor) -> torch.Tensor:
    """Return E_total of shape (...) at weights of shape (..., 8)."""
    inputs, targets, biases = (
        torch.tensor(values, dtype=torch.float64)
        for values in (network.inputs, network.targets, network.biases)
    )
    hidden, output = w.reshape(*w.shape[:-1], 2, 2, 2).unbind(-3)
    a_h = torch.sigmoid(hidden @ inputs + biases[0])
    a_o = torch.sigmoid((output @ a_h.unsqueeze(-1)).squeeze(-1) + biases[1])
    return ((a_o - targets) ** 2).sum(-1) / 2
