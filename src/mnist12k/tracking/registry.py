"""The registered models, and which version is champion."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from pandas import DataFrame

from mnist12k.cnn.architecture import DIGITS
from mnist12k.errors import UserError
from mnist12k.files import read_table
from mnist12k.tracking.logged_model import CLASSES, image_shape, load, model_fault
from mnist12k.tracking.store import (
    already_exists,
    connect,
    errors_as_user_errors,
    is_local,
    local_database,
    reason,
    retry_on_conflict,
)

if TYPE_CHECKING:
    from mnist12k.photos.predict import Model

REGISTERED_MODEL = "mnist12k-cnn"
CHAMPION = "champion"
# MLflow's error codes for a missing model and a missing alias.
NO_CHAMPION = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class Comparison(NamedTuple):
    """Two models on the same images: how many only one of them classifies correctly."""

    challenger_only: int
    champion_only: int
    p_value: float


def compare(challenger: DataFrame, champion: DataFrame) -> Comparison:
    """Compare predictions, with columns `label` and `prediction`, by McNemar's exact test.

    The test is two-sided (McNemar, 1947). Raises UserError if the images differ.
    """
    if not challenger["label"].equals(champion["label"]):
        raise UserError("the champion was evaluated on other test images")
    correct = challenger["label"] == challenger["prediction"]
    champion_correct = champion["label"] == champion["prediction"]
    challenger_only = int((correct & ~champion_correct).sum())
    champion_only = int((champion_correct & ~correct).sum())
    from scipy.stats import binomtest  # takes a second, and most often there is nothing to compare

    different = challenger_only + champion_only
    p_value = binomtest(challenger_only, different).pvalue if different else 1.0
    return Comparison(challenger_only, champion_only, float(p_value))


def register(
    client: MlflowClient,
    run_id: str,
    model_uri: str,
    predictions: DataFrame,
    level: float,
    tags: Mapping[str, str],
) -> str:
    """Register a run's model; make it champion if it is significantly better.

    Better means more correct `predictions` on the same test images, with p < `level`; a champion
    that cannot be loaded or compared is replaced. Returns a line about the outcome, empty if the
    model was registered before and there is a champion.
    """
    _ensure_model(client)
    version = _version_of(client, run_id, model_uri)
    if version is None:
        version = client.create_model_version(
            REGISTERED_MODEL,
            model_uri,
            run_id,
            tags=dict(tags),
            model_id=model_uri.removeprefix("models:/"),
            await_creation_for=0,  # it is ready at once
        )
    number = version.version
    if version.description:  # set last, so an interrupted registration has none
        if find_champion(client) is not None:
            return ""
        client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, number)
        return f"{REGISTERED_MODEL} version {number} is champion: there was none"
    verdict = retry_on_conflict(lambda: _challenge(client, number, predictions, level))
    accuracy = (predictions["label"] == predictions["prediction"]).mean()
    description = f"Test accuracy {accuracy:.2%}. {verdict}"
    client.set_model_version_tag(REGISTERED_MODEL, number, "promotion", verdict)
    client.update_model_version(REGISTERED_MODEL, number, description)
    return f"{REGISTERED_MODEL} version {number}: {description}"


def version_fault(client: MlflowClient, run_id: str) -> str:
    """Return what the registry lacks for a run whose model should be in it; empty if nothing."""
    if not any(
        version.run_id == run_id and not model_fault(str(version.source))
        for version in _versions(client)
    ):
        return f"{REGISTERED_MODEL} has no version of the run that can be loaded"
    return "" if find_champion(client) else f"{REGISTERED_MODEL} has no champion"


def champion_fault(client: MlflowClient) -> str:
    """Return why the champion cannot be used; empty if it can, or if there is none."""
    champion = find_champion(client)
    if champion is None or not (fault := model_fault(str(champion.source))):
        return ""
    return f"{REGISTERED_MODEL} version {champion.version}, the champion, cannot be loaded: {fault}"


def promote(number: int) -> str:
    """Make a version champion without a test; return a line that names the former champion.

    Raises UserError if there is no such version, or if it cannot be loaded.
    """
    client, _ = connect()
    versions = {int(version.version): version for version in _versions(client)}
    if number not in versions:
        known = ", ".join(map(str, sorted(versions))) or "none; `mnist12k publish` registers one"
        raise UserError(f"--version {number}: {REGISTERED_MODEL} has the versions: {known}")
    if fault := model_fault(str(versions[number].source)):
        raise UserError(f"--version {number}: the model cannot be loaded ({fault})")
    former = find_champion(client)
    if former is not None and int(former.version) == number:
        return f"{REGISTERED_MODEL} version {number} is already champion"
    client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, str(number))
    replaced = f", replacing version {former.version}" if former else ""
    old = client.get_model_version(REGISTERED_MODEL, str(number)).description or ""
    description = f"{old} Promoted manually{replaced}.".strip()
    client.update_model_version(REGISTERED_MODEL, str(number), description)
    return f"{REGISTERED_MODEL} version {number} is now champion{replaced}"


def find_champion(client: MlflowClient) -> ModelVersion | None:
    """Return the champion, or None if there is none."""
    try:
        return client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)
    except MlflowException as error:
        if error.error_code not in NO_CHAMPION:  # a failing server does not mean no champion
            raise
        return None


def load_registered(uri: str) -> "Model":
    """Return the model at a `models:/` URI; of one without names, the classes are digits.

    Raises UserError if there is no such model, or the store fails.
    """
    from mnist12k.photos.predict import Model  # with PyTorch

    if is_local() and not local_database().is_file():
        raise UserError(f"{uri}: no model is registered; `dvc repro` trains and registers one")
    with errors_as_user_errors():
        connect()
        model = load(uri)

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = np.asarray(model.predict(images))
        return logits

    return Model(image_shape(model), (model.metadata.metadata or {}).get(CLASSES, DIGITS), run)


def _challenge(client: MlflowClient, number: str, predictions: DataFrame, level: float) -> str:
    """Make a version champion if it is better than the present one; return the reason."""
    champion = find_champion(client)
    while True:
        better, verdict = _judge(champion, predictions, level)
        present = find_champion(client)
        if (present and present.version) == (champion and champion.version):
            break
        champion = present  # another process has moved the alias meanwhile
    if better:
        client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, number)
    return verdict


def _judge(champion: ModelVersion | None, predictions: DataFrame, level: float) -> tuple[bool, str]:
    """Return whether the predictions are better than the champion's, and why."""
    if champion is None:
        return True, "Champion: there was none before."
    name = f"version {champion.version}"
    if fault := model_fault(str(champion.source)):
        return True, f"Champion: {name} cannot be loaded ({fault})."
    try:
        path = download_artifacts(run_id=champion.run_id, artifact_path="evaluate/predictions.csv")
        columns = {"label": int, "prediction": int}
        result = compare(predictions, read_table(Path(path), columns))
    except (UserError, MlflowException, OSError) as error:
        cause = str(error) if isinstance(error, UserError) else reason(error)
        return True, f"Champion: {name} cannot be compared ({cause})."
    evidence = (
        f"correct on {result.challenger_only} images that it gets wrong, wrong on "
        f"{result.champion_only} that it gets right; McNemar's p = {result.p_value:.2g}, "
        f"level {level:g}"
    )
    if result.challenger_only > result.champion_only and result.p_value < level:
        return True, f"Champion: significantly better than {name} ({evidence})."
    return False, f"Not champion: not significantly better than {name} ({evidence})."


def _ensure_model(client: MlflowClient) -> None:
    description = "Small networks."
    try:
        client.create_registered_model(REGISTERED_MODEL, description=description)
    except MlflowException as error:
        if not already_exists(error):
            raise


def _version_of(client: MlflowClient, run_id: str, model_uri: str) -> ModelVersion | None:
    """Return the version of a run's model, if it can be loaded."""
    for version in _versions(client):
        if version.run_id == run_id and (
            version.source == model_uri or not model_fault(str(version.source))
        ):
            return version
    return None


def _versions(client: MlflowClient) -> list[ModelVersion]:
    return list(client.search_model_versions(f"name = '{REGISTERED_MODEL}'"))
