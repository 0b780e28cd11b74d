"""The study: its identity and its storage."""

import uuid
import warnings

import optuna
from optuna.pruners import NopPruner
from optuna.storages import BaseStorage, RDBStorage

from mnist12k.cnn.device import pick_device
from mnist12k.errors import UserError, warn, without_passwords
from mnist12k.paths import store_root
from mnist12k.search.digest import digest_of, study_digest
from mnist12k.search.journal import open_journal
from mnist12k.search.queue import GRACE, finished, retry
from mnist12k.search.samplers import new_pruner, not_searched
from mnist12k.search.settings import SearchSettings
from mnist12k.search.space import parse_space

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the stage prints one line per trial
# Grouped TPE, the Wilcoxon pruner, heartbeats, Matplotlib plots: experimental, but tested here.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

JOURNAL = "optuna.journal"
# User attributes of a study: what identifies its inputs, and this search of them; who chose points.
DIGEST, SEARCH, CHOSEN_BY = "mnist12k.digest", "mnist12k.search", "mnist12k.chosen_by"
HEARTBEAT = 15  # seconds


def open_study(settings: SearchSettings, finalists: str = "") -> optuna.Study:
    """Open the study of these settings, or create it; with a finalists' digest, their study.

    Raises UserError if the storage fails or has another study of the same name.
    """
    # The losses of another kind of device differ in their last digits.
    device = pick_device(settings.train.device).type
    digest = digest_of([study_digest(settings), device]) + finalists
    name = f"mnist12k-{digest[:8]}" + (f"-finalists-{finalists[:8]}" if finalists else "")
    try:
        study = optuna.create_study(
            storage=open_storage(settings.tune.storage),
            pruner=NopPruner() if finalists else new_pruner(settings),
            study_name=name,
            load_if_exists=True,
        )
        if DIGEST not in study.user_attrs and not study.get_trials(deepcopy=False):
            study.set_user_attr(SEARCH, uuid.uuid4().hex)
            study.set_user_attr(DIGEST, digest)
        known = study.user_attrs.get(DIGEST)
    except UserError:
        raise
    except Exception as error:  # the exception's type depends on the database
        lines = (str(error).strip() or type(error).__name__).splitlines()
        reason = without_passwords(lines[0])[:200]
        storage = without_passwords(settings.tune.storage)
        raise UserError(f"tune.storage = {storage!r}: {reason}") from error
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


def open_storage(name: str) -> BaseStorage:
    """Open the journal next to the tracking store, or a PostgreSQL database."""
    if name == "journal":
        return open_journal(store_root() / JOURNAL)
    return RDBStorage(
        name,
        engine_kwargs={"connect_args": {"connect_timeout": 5}},
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=retry,
    )
