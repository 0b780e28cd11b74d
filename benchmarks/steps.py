"""One step of training on a CPU, done in other ways: the ideas that were tried to make it faster.

    python benchmarks/steps.py        # writes benchmarks/steps.json; about ten minutes

as_it_is        the recipe `best` by mnist12k.cnn.fit, in batches of 128
one_thread      on one thread
bfloat16        convolutions in bfloat16, by torch.autocast
compiled        PyTorch's own layers, compiled by torch.compile
two_processes   one thread and half of every batch each, gradients summed; batch norm by half batch
first_layer_as_matrix_product
                the first convolution, which has one channel, as patches times weights
batches_of_256, batches_of_512
                larger batches, which would need a recipe of their own

Each measurement is a process of its own: one epoch of 100 batches to warm up, then one that counts.
All alternate for three rounds, and the median counts. The result is milliseconds per 128 images.
Needs MNIST in data/mnist, a C++ compiler for torch.compile, and an idle machine.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from common import (
    DATA,
    command,
    machine,
    measure_in_new_process,
    training,
    write_result,
)
from torch import Tensor, distributed, multiprocessing, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from training import PlainNetwork

from mnist12k.cnn import cpu_block
from mnist12k.cnn.fit import fit
from mnist12k.cnn.network import Network, for_images, new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_training_digits

METHODS = (
    "as_it_is",
    "one_thread",
    "bfloat16",
    "compiled",
    "two_processes",
    "first_layer_as_matrix_product",
    "batches_of_256",
    "batches_of_512",
)
ROUNDS = 3
STEPS, BATCH_SIZE = 100, 128


class InBfloat16(nn.Module):
    """A network whose convolutions and matrix products are computed in bfloat16."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 logits."""
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = self.network(images)
        return logits.float()


class Compiled(nn.Module):
    """The network as PyTorch's own layers, compiled."""

    def __init__(self, settings: Train) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)
        assert isinstance(settings.dropout, float)
        network = PlainNetwork(settings.architecture, settings.dropout)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.compile()
        self.architecture = settings.architecture

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.network(
            (images - self.architecture.mean) / self.architecture.deviation
        )
        return logits


def convolve_first_by_matrix(x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Convolve as F.conv2d does; one channel by a matrix product, into a channels-last tensor."""
    if x.shape[1] > 1:
        return F.conv2d(x, weight, padding=padding)
    count, channels, kernel = len(x), len(weight), weight.shape[-1]
    side = x.shape[-1] + 2 * padding[0] - kernel + 1
    patches = F.unfold(x, kernel, padding=padding).transpose(1, 2)
    product = patches @ weight.reshape(channels, -1).T
    return product.view(count, side, side, channels).permute(0, 3, 1, 2)


def sum_gradients(optimizer: Optimizer, *_: object) -> None:
    """Average the gradients of all processes before an update."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def epochs(settings: Train, method: str = "", images: int = STEPS * BATCH_SIZE) -> list[float]:
    """Train two epochs; return the seconds of each."""
    digits = load_training_digits(DATA, settings.architecture)
    settings = for_images(settings, digits.images)
    chosen, nothing = (digits.subset(torch.arange(count)) for count in (images, 0))
    network: nn.Module = new_network(settings, torch.device("cpu"))
    if method == "bfloat16":
        assert isinstance(network, Network)
        network = InBfloat16(network)
    elif method == "compiled":
        network = Compiled(settings)
    elif method == "first_layer_as_matrix_product":
        cpu_block.F = Functions()  # type: ignore[attr-defined]
    return [epoch.seconds for epoch in fit(network, chosen, nothing, settings)]


class Functions:
    """What cpu_block.py uses of torch.nn.functional."""

    conv2d = staticmethod(convolve_first_by_matrix)


def half(rank: int, store: str, seconds: "multiprocessing.SimpleQueue[list[float]]") -> None:
    """Train on half of every batch in one of two processes; the first returns the seconds."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    register_optimizer_step_pre_hook(sum_gradients)
    settings = training("best", epochs=2, batch_size=BATCH_SIZE // 2)
    found = epochs(settings, images=STEPS * BATCH_SIZE // 2)
    if rank == 0:
        seconds.put(found)
    distributed.destroy_process_group()


def measure(method: str) -> dict[str, float]:
    """Return milliseconds per 128 images, and the seconds that the first epoch took longer."""
    settings = training("best", epochs=2)
    if method == "two_processes":
        seconds = multiprocessing.get_context("spawn").SimpleQueue()
        with tempfile.TemporaryDirectory() as folder:
            multiprocessing.spawn(half, (f"{folder}/store", seconds), nprocs=2)  # type: ignore[no-untyped-call]
        first, second = seconds.get()
    else:
        if method == "one_thread":
            torch.set_num_threads(1)
        if method.startswith("batches_of_"):
            settings = settings.model_copy(update={"batch_size": int(method.split("_")[-1])})
        first, second = epochs(settings, method)
    return {"milliseconds": 1000 * second / STEPS, "first_epoch_longer": first - second}


def main() -> None:
    """Measure one method in this process, or all and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=METHODS, help="only measure this, and print it")
    if method := parser.parse_args().method:
        print(json.dumps(measure(method)))
        return

    measured: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for _ in range(ROUNDS):
        for method in METHODS:
            measured[method].append(measure_in_new_process(__file__, "--method", method))
            print(f"{method}: {measured[method][-1]['milliseconds']:.1f} ms", flush=True)
    medians = {
        method: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for method, found in measured.items()
    }
    usual = medians["as_it_is"]["milliseconds"]
    result = {
        "machine": machine(f"{torch.get_num_threads()} threads", f"PyTorch {torch.__version__}"),
        "command": command(__file__),
        "methods": {
            method: {
                "milliseconds_per_128_images": round(found["milliseconds"], 1),
                "relative": round(found["milliseconds"] / usual, 2),
                "first_epoch_longer_by_seconds": round(found["first_epoch_longer"], 1),
            }
            for method, found in medians.items()
        },
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
