"""What torch's autograd says of the 2-2-2 network: a second opinion, in float64.

The loss is written with matrices here and shares no line with the formulas that it checks.
"""

import numpy as np
import torch

from mnist12k.backprop.network import Array, Network


def autograd_gradients(network: Network, weights: Array) -> Array:
    """Return dE_total/dw, of shape (8, n) as the weights."""
    w = torch.tensor(weights.T, requires_grad=True)
    (slopes,) = torch.autograd.grad(_loss(network, w).sum(), w)
    return np.asarray(slopes.T)


def sharpness(network: Network, weights: Array) -> Array:
    """Return the largest eigenvalue of E_total's Hessian, of shape (n,), at weights (8, n).

    Plain gradient descent is stable around a minimum where this is below 2 / learning rate.
    """
    w = torch.tensor(weights.T, requires_grad=True)
    (slopes,) = torch.autograd.grad(_loss(network, w).sum(), w, create_graph=True)
    hessians = [
        torch.autograd.grad(slope.sum(), w, retain_graph=True)[0] for slope in slopes.unbind(-1)
    ]
    return np.asarray(torch.linalg.eigvalsh(torch.stack(hessians, dim=-1))[:, -1])


def _loss(network: Network, w: torch.Tensor) -> torch.Tensor:
    """E_total of shape (...), at weights (..., 8)."""
    inputs, targets, _, biases = (torch.tensor(given, dtype=torch.float64) for given in network)
    hidden, output = w.reshape(*w.shape[:-1], 2, 2, 2).unbind(-3)
    a_h = torch.sigmoid(hidden @ inputs + biases[0])
    a_o = torch.sigmoid((output @ a_h.unsqueeze(-1)).squeeze(-1) + biases[1])
    return ((a_o - targets) ** 2).sum(-1) / 2
