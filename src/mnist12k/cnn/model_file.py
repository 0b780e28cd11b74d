"""The trained network as a file: its architecture and its weights, loaded without unpickling."""

import io
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.network import Network
from mnist12k.errors import UserError
from mnist12k.files import atomic_write

LARGEST = 16 << 20  # bytes, and parameters; the reference network's file has 63 kB


def save_network(network: Network, path: Path) -> None:
    """Write architecture and weights, from the CPU and in plain layout, for any machine."""
    weights = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    content = {"architecture": network.architecture.model_dump(), "weights": weights}
    # Given a path, torch.save stores the path's name, here a temporary one, in the file.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def load_network(path: Path, device: torch.device) -> Network:
    """Return the trained network in evaluation mode.

    Raises UserError if the file is missing or damaged, or holds weights of another network, or
    that are not finite numbers.
    """
    try:
        content = _read(path)
        if not isinstance(content, dict) or content.keys() != {"architecture", "weights"}:
            raise ValueError("not a file with architecture and weights")
        layers = Architecture.model_validate(content["architecture"])
        if (parameters := layers.parameters()) > LARGEST:
            raise ValueError(f"{parameters:,} parameters are too many")
        network = Network(layers)
        network.load_state_dict(_checked(content["weights"], network.state_dict()))
        size = layers.image_shape
        with torch.no_grad():
            logits = network.eval()(torch.stack([torch.zeros(size), torch.ones(size)]))
        if not logits.isfinite().all():
            raise ValueError("its logits are not finite")
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a broken file leads torch.load to any of them
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{path} does not hold a network's weights ({reason}); "
            "`dvc repro --force train` rewrites models/cnn.pt"
        ) from error
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _read(path: Path) -> Any:
    """Return the file's content; a pipe or a device would be waited for."""
    if not path.exists():
        raise UserError(f"{path} is missing; `dvc repro train` writes models/cnn.pt")
    if not path.is_file():
        raise UserError(f"{path} is not a file; `dvc repro train` writes models/cnn.pt")
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{size:,} bytes are too many")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # PyTorch does not check its checksums
        if spoilt := archive.testzip():
            raise ValueError(f"{spoilt} in it has another checksum")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd file is refused below
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _checked(state: Any, expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return `state`; raise ValueError unless it has finite weights of the expected kind.

    PyTorch itself would convert other types, and discard the imaginary part of complex numbers.
    """
    if not isinstance(state, dict):
        raise ValueError(f"a {type(state).__name__}, not a dict of tensors")
    if different := expected.keys() ^ state.keys():
        name = min(different, key=str)
        raise ValueError(f"{name} is {'missing' if name in expected else 'unexpected'}")
    for name, own in expected.items():
        value = state[name]
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is a {type(value).__name__}, not a tensor")
        for kind in ("layout", "dtype", "shape"):
            actual, needed = getattr(value, kind), getattr(own, kind)
            if actual != needed:
                raise ValueError(f"{name} has the {kind} {_text(actual)}, not {_text(needed)}")
        if not value.isfinite().all():
            raise ValueError(f"{name} has a value that is not finite")
    return state


def _text(value: object) -> str:
    return str(tuple(value) if isinstance(value, torch.Size) else value).removeprefix("torch.")
