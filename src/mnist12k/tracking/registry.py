"""The registered models, and which of them is champion."""

import csv
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from scipy.stats import binomtest

from mnist12k.errors import UserError
from mnist12k.tracking.store import again_if_outrun, connect, is_there_already

MODEL = "mnist12k-cnn"
CHAMPION = "champion"
# What MLflow answers where there is no such model, or no such alias of it.
NO_CHAMPION = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
FINGERPRINT = "mnist12k.fingerprint"
PREDICTIONS = Path("reports/evaluate/predictions.csv")


class Comparison(NamedTuple):
    """Two models on the same images: how many only the one or only the other reads right."""

    challenger_only: int
    champion_only: int
    p_value: float


def compare(challenger: Path, champion: Path) -> Comparison:
    """Compare two predictions.csv by McNemar's exact test (McNemar, 1947), two-sided.

    Raises UserError if they are not of the same images and labels.
    """
    ours, theirs = _answers(challenger), _answers(champion)
    if [label for label, _ in ours] != [label for label, _ in theirs]:
        raise UserError("the champion was measured on other test images")
    right = [(a[0] == a[1], b[0] == b[1]) for a, b in zip(ours, theirs, strict=True)]
    challenger_only, champion_only = right.count((True, False)), right.count((False, True))
    different = challenger_only + champion_only
    p_value = binomtest(challenger_only, different).pvalue if different else 1.0
    return Comparison(challenger_only, champion_only, float(p_value))


def register(client: MlflowClient, run_id: str, source: str, accuracy: float, level: float) -> str:
    """Make the run's model a version unless it is one, and champion if it is better; say what came.

    Better means right on more of the same test images, by more than chance: p below `level`.
    """
    _ensure_model(client)
    version = next((known for known in _versions(client) if known.run_id == run_id), None)
    if version is None:
        version = client.create_model_version(
            MODEL,
            source,
            run_id,
            model_id=source.removeprefix("models:/"),
            await_creation_for=0,  # it is ready at once
        )
    elif version.description:  # given last: what was broken off has none
        return ""
    number = version.version
    reason = again_if_outrun(lambda: _challenge(client, number, level))
    description = f"{accuracy:.2%} of the test images. {reason}"
    client.update_model_version(MODEL, version.version, description)
    return f"{MODEL} version {version.version}: {description}"


def promote(number: int) -> str:
    """Make a version champion whatever the figures say; return a line that says who lost."""
    client, _ = connect()
    known = {int(version.version) for version in _versions(client)}
    if number not in known:
        there = ", ".join(map(str, sorted(known))) or "none"
        raise UserError(f"--version {number}: {MODEL} has no such version; there are {there}")
    former = find_champion(client)
    if former is not None and int(former.version) == number:
        return f"{MODEL} version {number} is champion already"
    client.set_registered_model_alias(MODEL, CHAMPION, str(number))
    lost = f" over version {former.version}" if former else ""
    old = client.get_model_version(MODEL, str(number)).description or ""
    client.update_model_version(MODEL, str(number), f"{old} Promoted by hand{lost}.".strip())
    return f"{MODEL} version {number} is now champion{lost}"


def find_champion(client: MlflowClient) -> ModelVersion | None:
    """Return the version that is champion, or None where none is."""
    try:
        return client.get_model_version_by_alias(MODEL, CHAMPION)
    except MlflowException as error:
        if error.error_code not in NO_CHAMPION:  # a server that fails says nothing of champions
            raise
        return None


def _challenge(client: MlflowClient, number: str, level: float) -> str:
    """Make a version champion if it is better than the present one; say why, or why not."""
    moves, reason = _judge_present_champion(client, level)
    if moves:
        client.set_registered_model_alias(MODEL, CHAMPION, number)
    return reason


def _judge_present_champion(client: MlflowClient, level: float) -> tuple[bool, str]:
    """Judge again if another pipeline has moved the alias meanwhile."""
    champion = find_champion(client)
    while True:
        verdict = _judge(champion, level)
        present = find_champion(client)
        if (present and present.version) == (champion and champion.version):
            return verdict
        champion = present


def _judge(champion: ModelVersion | None, level: float) -> tuple[bool, str]:
    """Return whether predictions.csv in the workspace beats the champion's, and why."""
    if champion is None:
        return True, "Champion: there was none."
    name = f"version {champion.version}"
    try:
        theirs = download_artifacts(
            run_id=champion.run_id, artifact_path="evaluate/predictions.csv"
        )
        found = compare(PREDICTIONS, Path(theirs))
    except (UserError, MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        return False, f"Not champion: cannot be compared with {name} ({reason})."
    evidence = (
        f"right where the other is wrong on {found.challenger_only} images, wrong on "
        f"{found.champion_only} (McNemar's p = {found.p_value:.2g}, level {level:g})"
    )
    if found.challenger_only > found.champion_only and found.p_value < level:
        return True, f"Champion: better than {name}, {evidence}."
    return False, f"Not champion: not better than {name} by more than chance, {evidence}."


def _ensure_model(client: MlflowClient) -> None:
    try:
        client.create_registered_model(MODEL, description="The 12,442-parameter network on MNIST.")
    except MlflowException as error:
        if not is_there_already(error):
            raise


def _versions(client: MlflowClient) -> list[ModelVersion]:
    return list(client.search_model_versions(f"name = '{MODEL}'"))


def _answers(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["label"], row["prediction"]) for row in csv.DictReader(file)]
