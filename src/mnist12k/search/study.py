"""The study: its identity, storage, sampler and pruner."""

import warnings

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage

from mnist12k.errors import UserError, without_passwords
from mnist12k.paths import store_root
from mnist12k.search.digest import study_digest
from mnist12k.search.journal import open_journal
from mnist12k.search.queue import GRACE, queued, retry
from mnist12k.search.settings import SearchSettings, Tune

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the stage prints one line per trial
# Grouped TPE, the Wilcoxon pruner, heartbeats, Matplotlib plots: experimental, but tested here.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

JOURNAL = "optuna.journal"
DIGEST = "mnist12k.digest"  # user attribute of a study
HEARTBEAT = 15  # seconds


def open_study(settings: SearchSettings, finalists: str = "") -> optuna.Study:
    """Open the study of these settings, or create it; with a finalists' digest, their study.

    Raises UserError if the storage fails or has another study of the same name.
    """
    digest = study_digest(settings) + finalists
    name = f"mnist12k-{digest[:8]}" + (f"-finalists-{finalists[:8]}" if finalists else "")
    try:
        study = optuna.create_study(
            storage=open_storage(settings.tune.storage),
            pruner=NopPruner() if finalists else new_pruner(settings),
            study_name=name,
            load_if_exists=True,
        )
        if DIGEST not in study.user_attrs and not study.get_trials(deepcopy=False):
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


def new_sampler(tune: Tune, study: optuna.Study) -> BaseSampler:
    """Return the sampler for the next trial, seeded by the number of trials started before it.

    A resumed search therefore neither repeats nor reorders points.
    """
    started = len(study.get_trials(deepcopy=False)) - len(queued(study))
    seed = int(np.random.SeedSequence([tune.seed, started]).generate_state(1)[0])
    match tune.sampler:
        case "tpe":
            return TPESampler(seed=seed, group=True)
        case "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False)
        case "cma_es":
            return CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "random" | "grid":  # the points of a grid are in the queue
            return RandomSampler(seed=seed)


def new_pruner(settings: SearchSettings) -> BasePruner:
    """Return the chosen pruner; a step is an epoch, or for Wilcoxon's a seed."""
    match settings.tune.pruner:
        case "hyperband":
            return HyperbandPruner(min_resource=1, max_resource=settings.start.epochs)
        case "median":
            return MedianPruner(n_startup_trials=2)  # Optuna's 5 are an eighth of 40 trials
        case "wilcoxon":
            return WilcoxonPruner()
        case "none":
            return NopPruner()
