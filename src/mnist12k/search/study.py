"""The study: its identity and its storage."""

import contextlib
import uuid
import warnings
from collections.abc import Iterator

import optuna
from optuna.pruners import BasePruner, NopPruner

from mnist12k.cnn.device import pick_device
from mnist12k.errors import UserError, warn, without_passwords
from mnist12k.search.digest import digest_of, study_digest
from mnist12k.search.queue import finished
from mnist12k.search.samplers import new_pruner, not_searched
from mnist12k.search.settings import SearchSettings
from mnist12k.search.space import parse_space
from mnist12k.search.storage import open_storage

optuna.logging.set_verbosity(optuna.logging.ERROR)  # the stage prints one line per trial
# Grouped TPE, the Wilcoxon pruner, heartbeats, Matplotlib plots: experimental, but tested here.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

# User attributes of a study: what identifies its inputs, and this search of them; who chose points;
# whether `mnist12k tune` has ended, so that workers end as well.
DIGEST, SEARCH, CHOSEN_BY = "mnist12k.digest", "mnist12k.search", "mnist12k.chosen_by"
FINISHED = "mnist12k.finished"


def full_digest(settings: SearchSettings) -> str:
    """Return what identifies a study: the losses of another kind of device differ in the end."""
    return digest_of([study_digest(settings), pick_device(settings.train.device).type])


def study_name(settings: SearchSettings) -> str:
    """Return the name of a search's study; those of its finalists start with it."""
    return f"mnist12k-{full_digest(settings)[:8]}"


def open_study(settings: SearchSettings, finalists: str = "") -> optuna.Study:
    """Open the study of these settings, or create it; with a finalists' digest, their study.

    Raises UserError if the storage fails or has another study of the same name.
    """
    name = study_name(settings) + (f"-finalists-{finalists[:8]}" if finalists else "")
    pruner = NopPruner() if finalists else new_pruner(settings)
    return open_named_study(settings, name, full_digest(settings) + finalists, pruner)


def open_named_study(
    settings: SearchSettings, name: str, digest: str, pruner: BasePruner | None = None
) -> optuna.Study:
    """Open the study of this name, or create it; raise UserError as `open_study` does."""
    with storage_errors(settings):
        study = optuna.create_study(
            storage=open_storage(settings.tune.storage),
            pruner=pruner or NopPruner(),
            study_name=name,
            load_if_exists=True,
        )
        if DIGEST not in study.user_attrs and not study.get_trials(deepcopy=False):
            study.set_user_attr(SEARCH, uuid.uuid4().hex)
            study.set_user_attr(DIGEST, digest)
        known = study.user_attrs.get(DIGEST)
    if known != digest:
        raise UserError(
            f"tune.storage has a study {name} of other inputs; move it away, or change tune.seed"
        )
    return study


def say_what_chooses(settings: SearchSettings, study: optuna.Study) -> None:
    """Warn if trials have been chosen in another way, or if a part of the space is not searched."""
    tune = settings.tune
    current = [tune.sampler, tune.pruner]
    former = study.user_attrs.get(CHOSEN_BY, current)
    if former != current and (count := len(finished(study))):
        warn(
            f"{study.study_name}: its {count} finished trials were chosen by the sampler "
            f"{former[0]} with the pruner {former[1]}; only new ones follow tune.sampler = "
            f"{tune.sampler} and tune.pruner = {tune.pruner} (another tune.seed starts anew)"
        )
    study.set_user_attr(CHOSEN_BY, current)
    if names := not_searched(tune, parse_space(tune.space)):
        warn(f"tune.sampler = {tune.sampler} does not search {', '.join(names)}: drawn at random")


def join_study(settings: SearchSettings, name: str) -> optuna.Study:
    """Open the study of this name, which `open_study` has created, from a worker's process."""
    with storage_errors(settings):
        return optuna.load_study(
            storage=open_storage(settings.tune.storage, patient=True),
            pruner=new_pruner(settings) if name == study_name(settings) else NopPruner(),
            study_name=name,
        )


@contextlib.contextmanager
def storage_errors(settings: SearchSettings) -> Iterator[None]:
    """Turn whatever fails at the storage into a UserError: its type depends on the database."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        reason = without_passwords(lines[0])[:200]
        storage = without_passwords(settings.tune.storage)
        raise UserError(f"tune.storage = {storage!r}: {reason}") from error
