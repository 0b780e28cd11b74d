"""Trainings on an NVIDIA GPU: first whether they are right, then how fast they are.

    PYTHONPATH=src python benchmarks/gpu.py          # writes benchmarks/gpu.json; under 8 minutes
    PYTHONPATH=src python benchmarks/gpu.py --try    # on any device, in miniature, printed only

Needs this repository, the IDX files in data/mnist, PyTorch 2.11 or newer, pydantic, ruamel.yaml,
filelock and psutil; nothing of DVC, MLflow or Optuna, and no installation. Trainings see all 60,000
images, and the test images afterwards. The file is rewritten after every part; a part that would
begin after seven minutes is left out.
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from common import DATA, ROOT, command, machine, training
from torch import Tensor

from mnist12k.cnn.checkpoint import Checkpoint
from mnist12k.cnn.device import be_deterministic, device_name
from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import Network, for_images, new_network, to_unit_range
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits, load_test_digits, load_training_digits
from mnist12k.files import write_json
from mnist12k.params import load_params
from mnist12k.paths import PARAMS
from mnist12k.search.fused import fit_fused

LAST_START = 420  # seconds
NOTHING = torch.arange(0)


class Bench(NamedTuple):
    """Where to measure, and on which images."""

    device: torch.device
    images: Digits
    test: Digits
    miniature: bool

    def on_gpu(self) -> bool:
        """Return whether there are CUDA graphs."""
        return self.device.type == "cuda"

    def settings(self, recipe: str, network: str = "reference", **changes: object) -> Train:
        """Return a training; in miniature, of at most two epochs."""
        settings = training(recipe, network, validation_size=0, **changes)
        if self.miniature:
            settings = settings.model_copy(update={"epochs": min(settings.epochs, 2)})
        return for_images(settings, self.images.images)

    def few(self) -> Digits:
        """Return the images of the checks, whose last batch is a part of one."""
        return self.images.subset(torch.arange(500 if self.miniature else 6000))

    def train(
        self,
        settings: Train,
        images: Digits,
        prepare: Callable[[Network], None] = lambda _: None,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
        checkpoint: Checkpoint | None = None,
    ) -> Network:
        """Train a network without a hold-out set, after preparing it."""
        network = new_network(settings, self.device)
        prepare(network)
        nothing = images.subset(NOTHING)
        fit(network, images, nothing, settings, on_epoch, checkpoint=checkpoint)
        return network

    def timed(
        self, settings: Train, prepare: Callable[[Network], None] = lambda _: None
    ) -> dict[str, float]:
        """Train on all images, which are on the device; return what it took and gave."""
        images, epochs = self.images.to(self.device), list[Epoch]()
        if self.on_gpu():
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        # The last epoch's end waits for the device.
        network = self.train(settings, images, prepare, epochs.append)
        seconds = time.perf_counter() - start
        return {
            "seconds": round(seconds, 3),
            "last_epoch_seconds": round(epochs[-1].seconds, 4),
            "test_accuracy": round(evaluate(network, self.test.to(self.device)).accuracy, 4),
            **self.memory(),
        }

    def memory(self) -> dict[str, float]:
        """Return the peak of the GPU's memory since it was reset."""
        if not self.on_gpu():
            return {}
        return {"peak_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20, 1)}


def gradients(bench: Bench) -> dict[str, float]:
    """Return how far each network's gradient is from that in float64 on the CPU.

    The norm of the difference, relative to the gradient's. By default cuDNN rounds to TF32.
    """

    def of(device: torch.device, settings: Train, dtype: torch.dtype) -> Tensor:
        network = new_network(settings, device).to(dtype)
        images = to_unit_range(few.images.to(device)).to(dtype)
        loss = F.cross_entropy(network(images), few.labels.to(device))
        found = torch.autograd.grad(loss, list(network.parameters()))
        return torch.cat([each.flatten() for each in found]).cpu().double()

    few = bench.few().subset(torch.arange(256))
    errors = {}
    for name in load_params(ROOT / PARAMS).networks:
        settings = bench.settings("fast", name)
        exact = of(torch.device("cpu"), settings, torch.float64)
        # As PyTorch computes by default, last, and so the later parts.
        for precision in ("ieee", "tf32") if bench.on_gpu() else ("ieee",):
            torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
            error = of(bench.device, settings, torch.float32) - exact
            errors[f"{name}, {precision}"] = float(error.norm() / exact.norm())
    return errors


def bits(bench: Bench) -> dict[str, bool]:
    """Return which trainings by `best` end with the same bits."""
    settings = bench.settings("best", epochs=2)
    graph = settings.model_copy(update={"cuda_graph": bench.on_gpu()})
    default = bench.train(settings, bench.few())
    be_deterministic()
    eager, again = (bench.train(settings, bench.few()) for _ in range(2))
    replayed, replayed_again = (bench.train(graph, bench.few()) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.pt"
        with contextlib.suppress(KeyboardInterrupt):
            bench.train(graph, bench.few(), checkpoint=Checkpoint(path, ""), on_epoch=interrupt)
        resumed = bench.train(graph, bench.few(), checkpoint=Checkpoint(path, ""))
    torch.use_deterministic_algorithms(False)
    return {
        "deterministic training, twice": same_bits(eager, again),
        "graph, twice": same_bits(replayed, replayed_again),
        "graph and eager": same_bits(replayed, eager),
        "resumed graph and uninterrupted one": same_bits(resumed, replayed),
        "default algorithms and deterministic ones": same_bits(default, eager),
    }


def interrupt(_: Epoch) -> None:
    """Stop a training at the end of its first epoch."""
    raise KeyboardInterrupt


def same_bits(one: Network, other: Network) -> bool:
    """Return whether two networks have the same weights and statistics."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def in_bf16(network: Network) -> None:
    """Make a network compute its convolutions in bf16, and its logits in float32."""
    forward = network.forward

    def rounded(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return forward(images).float()

    network.forward = rounded  # type: ignore[method-assign]


def channels_first(network: Network) -> None:
    """Lay the weights out as PyTorch does by default."""
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def best(bench: Bench) -> dict[str, dict[str, float]]:
    """Train `best` in each way, the first time to warm up."""
    eager = bench.settings("best")
    graph = eager.model_copy(update={"cuda_graph": bench.on_gpu()})
    bench.timed(graph.model_copy(update={"epochs": 1}))
    ways = {
        "as a graph": bench.timed(graph),
        "as a graph, bf16": bench.timed(graph, in_bf16),
        "as a graph, channels first": bench.timed(graph, channels_first),
        "without a graph, 3 epochs": bench.timed(eager.model_copy(update={"epochs": 3})),
    }
    for size in (256, 512, 1024, 2048):
        larger = graph.model_copy(update={"batch_size": size})
        ways[f"as a graph, batches of {size}, recipe not tuned for it"] = bench.timed(larger)
    return ways


def fast(bench: Bench) -> dict[str, float]:
    """Train `fast` from 20 seeds; return the mean accuracy and seconds."""
    settings = bench.settings("fast", cuda_graph=bench.on_gpu())
    bench.timed(settings)
    found = [
        bench.timed(settings.model_copy(update={"seed": seed}))
        for seed in range(1, 3 if bench.miniature else 21)
    ]
    accuracies = [each["test_accuracy"] for each in found]
    return {
        "trainings": len(found),
        "epochs": settings.epochs,
        "seconds_mean": statistics.mean(each["seconds"] for each in found),
        "seconds_highest": max(each["seconds"] for each in found),
        "test_accuracy_mean": statistics.mean(accuracies),
        "test_accuracy_sd": statistics.stdev(accuracies),
    }


def many(bench: Bench) -> dict[str, dict[str, float]]:
    """Train `fast` for many models as one program, 100 steps per epoch, against one by one."""
    settings = bench.settings("fast", epochs=2, cuda_graph=bench.on_gpu())
    images = bench.images.subset(torch.arange(200 if bench.miniature else 100 * 128))
    images = images.to(bench.device)
    nothing = images.subset(NOTHING)
    last: list[Epoch] = []
    bench.train(settings, images, on_epoch=last.append)
    alone = len(images.labels) / last[-1].seconds
    rows = {"one by one": {"images_per_second": alone, "ratio": 1.0}}
    for models in (1, 2) if bench.miniature else (1, 16, 64, 256):
        seeded = [settings.model_copy(update={"seed": seed}) for seed in range(models)]
        networks = [new_network(each, bench.device) for each in seeded]
        if bench.on_gpu():
            torch.cuda.reset_peak_memory_stats()
        history = fit_fused(networks, images, nothing, seeded)[0]
        per_second = models * len(images.labels) / history[-1].seconds
        rows[f"{models} models"] = {
            "images_per_second": per_second,
            "ratio": per_second / alone,
            **bench.memory(),
        }
    return rows


PARTS = (gradients, bits, best, fast, many)


def run(part: Callable[[Bench], object], bench: Bench, elapsed: float) -> object:
    """Return a part's result, or why there is none: the other parts run all the same."""
    if elapsed > LAST_START:
        return "no time was left"
    try:
        return part(bench)
    except Exception as error:
        if bench.miniature:
            raise
        return f"failed: {type(error).__name__}: {error}"


def main() -> None:
    """Run every part; write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--try", action="store_true", dest="miniature", help="in miniature")
    miniature = parser.parse_args().miniature
    if not (torch.cuda.is_available() or miniature):
        raise SystemExit("there is no NVIDIA GPU here; --try runs the same steps in miniature")
    started = time.perf_counter()
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # of be_deterministic: read only once
    kind = training("best").architecture
    images, test = load_training_digits(DATA, kind), load_test_digits(DATA, kind)
    if miniature:
        images, test = images.subset(torch.arange(600)), test.subset(torch.arange(100))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench(device, images, test, miniature)
    result: dict[str, Any] = {
        "machine": machine(device_name(device), f"PyTorch {torch.__version__}"),
        "command": command(__file__),
    }
    for part in PARTS:
        begun = time.perf_counter()
        result[part.__name__] = run(part, bench, begun - started)
        result[f"{part.__name__}_took_seconds"] = round(time.perf_counter() - begun, 1)
        if not miniature:
            write_json(Path(__file__).with_suffix(".json"), result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
