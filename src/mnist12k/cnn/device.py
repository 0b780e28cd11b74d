"""Which device to train on."""

import os

import torch

from mnist12k.errors import UserError


def pick_device(name: str) -> torch.device:
    """Return the device of that name; for `auto` the accelerator that is there, else the CPU.

    Raises UserError for a device that is unknown or absent: asked for by name, it is never
    replaced by another.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        there = torch.accelerator.current_accelerator(check_available=True)
        allowed = ", ".join(["auto", "cpu", *([str(there)] if there else [])])
        raise UserError(f"device = {name!r} is not on this machine; allowed: {allowed}") from error
    return device


def device_name(device: torch.device) -> str:
    """Return what the device calls itself, for reports."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def be_deterministic() -> None:
    """Let PyTorch choose only algorithms that give the same bits every time, on any device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.use_deterministic_algorithms(True)
