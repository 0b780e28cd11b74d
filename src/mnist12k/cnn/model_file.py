"""The trained network as a file: a state_dict that nothing needs to unpickle."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from mnist12k.cnn.network import Network
from mnist12k.errors import UserError
from mnist12k.files import written_whole


def save_network(network: nn.Module, path: Path) -> None:
    """Write the weights, on the CPU and in plain layout, so that any machine reads them."""
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    # Given a path, torch.save writes that path's name, here a passing one, into the file.
    with written_whole(path) as beside, beside.open("wb") as file:
        torch.save(state, file)


def load_network(path: Path, device: torch.device) -> Network:
    """Return the trained network in evaluation mode.

    Raises UserError if the file is absent, damaged, or holds another network's weights.
    """
    if not path.is_file():
        raise UserError(f"{path} is absent; `dvc repro train` makes it")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = Network()
        network.load_state_dict(state)
    except (UnpicklingError, EOFError, OSError, RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} does not hold this network's weights ({reason}); `dvc repro -f train` makes it"
        ) from error
    return network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]
