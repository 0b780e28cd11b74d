"""The device to train on."""

import os

import torch

from mnist12k.cnn.settings import Threads
from mnist12k.errors import UserError

MOST_THREADS = 4  # of `auto`: a step is too short for more (benchmarks/README.md, `threads`)


def pick_device(name: str, key: str = "train.device") -> torch.device:
    """Return the device of that name; for `auto` the accelerator if there is one, else the CPU.

    Raises UserError, which names the parameter `key`, for an unknown or absent device: one asked
    for by name is never replaced.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    types = ["cpu", *([accelerator.type] if accelerator else [])]
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        device = torch.device("meta")  # which holds no numbers
    if device.type not in types:
        allowed = ", ".join(["auto", *types])
        raise UserError(f"{key} = {name!r} is not on this machine; allowed: {allowed}")
    return device


def use_threads(threads: Threads) -> None:
    """Make PyTorch compute with so many threads; `auto` is one per core, at most `MOST_THREADS`.

    OMP_NUM_THREADS wins over `auto`. The number decides the order of sums, and so the bits.
    """
    if threads != "auto":
        torch.set_num_threads(threads)
    elif not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(torch.get_num_threads(), MOST_THREADS))


def device_name(device: torch.device) -> str:
    """Return the device's name for reports; of a CPU with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    threads = torch.get_num_threads()
    return f"cpu ({threads} thread{'s' if threads > 1 else ''})"


def be_deterministic() -> None:
    """Restrict PyTorch to algorithms that give the same bits every time, on any device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it
    torch.use_deterministic_algorithms(True)
