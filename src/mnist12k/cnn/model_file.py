"""The trained network as a file: a state_dict, loaded without unpickling anything."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from mnist12k.cnn.network import Network
from mnist12k.errors import UserError
from mnist12k.files import atomic_write


def save_network(network: nn.Module, path: Path) -> None:
    """Write the weights from the CPU and in plain layout, readable on any machine."""
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    # Given a path, torch.save stores the path's name, here a temporary one, in the file.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def load_network(path: Path, device: torch.device) -> Network:
    """Return the trained network in evaluation mode.

    Raises UserError if the file is missing, damaged, or holds another network's weights.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; `dvc repro train` writes it")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = Network()
        network.load_state_dict(state)
    except (UnpicklingError, EOFError, OSError, RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} does not hold this network's weights ({reason}); "
            "`dvc repro --force train` rewrites it"
        ) from error
    return network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]
