"""The model card: what the network is, its results, and its limits."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from scipy.stats import binomtest

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import Network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_test_digits, load_training_digits, split
from mnist12k.errors import UserError
from mnist12k.export.robustness import Condition, measure_images, measure_noise
from mnist12k.files import write_text
from mnist12k.fingerprint import file_md5
from mnist12k.outputs import EVALUATE_RESULT, read_evaluate_result, read_train_result
from mnist12k.paths import DATA, MODEL, MODEL_CARD
from mnist12k.photos import PREPARATION
from mnist12k.photos.confidence import UNSURE, UNSURE_IF_WIDE, Confidence, measure


def write_model_card(settings: Train, data_set: str, device_name: str) -> None:
    """Evaluate models/cnn.pt on changed test images, and write its card; a minute on a core.

    Raises UserError if the results are missing, damaged, or another model's.
    """
    training, evaluation = read_train_result(), read_evaluate_result()
    device = pick_device(device_name, "evaluate.device")
    network = load_network(MODEL, device)
    if evaluation.model_md5 != file_md5(MODEL):
        raise UserError(f"{EVALUATE_RESULT} is of another model; run `dvc repro evaluate`")
    digits = load_test_digits(DATA, network.architecture).to(device)
    has_hold_out_set = settings.validation_size and network.architecture.reads_digits
    environment = Environment(
        loader=PackageLoader("mnist12k.export", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown
    )
    environment.filters |= {"percent": _percent, "interval": _interval}
    card = environment.get_template("model_card.md.j2").render(
        settings=settings,
        data_set=data_set,
        architecture=network.architecture,
        training=training,
        evaluation=evaluation,
        conditions=measure_images(network, digits),
        noises=measure_noise(network, device, len(digits.labels)),
        preparation=PREPARATION,
        unsure=UNSURE,
        unsure_if_wide=UNSURE_IF_WIDE,
        confidence=_confidence(network, settings) if has_hold_out_set else None,
    )
    write_text(MODEL_CARD, card)


def _confidence(network: Network, settings: Train) -> Confidence:
    """Measure the thresholds of `mnist12k predict` on the hold-out set."""
    _, digits = split(load_training_digits(DATA, network.architecture), settings.validation_size)
    return measure(network, digits.to(next(network.parameters()).device))


def _percent(fraction: float, digits: int = 2) -> str:
    return f"{fraction:.{digits}%}"


def _interval(condition: Condition) -> str:
    test = binomtest(condition.correct, condition.total)
    interval = test.proportion_ci(method="wilson")
    return f"{interval.low:.2%} to {interval.high:.2%}"
