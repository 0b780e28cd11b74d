"""The study: its identity, storage, sampler and pruner."""

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler

from mnist12k.errors import UserError, without_passwords
from mnist12k.search.digest import study_digest
from mnist12k.search.queue import queued
from mnist12k.search.settings import SearchSettings, Tune
from mnist12k.search.storage import open_storage

optuna.logging.set_verbosity(optuna.logging.ERROR)  # the stage prints one line per trial
# Grouped TPE, the Wilcoxon pruner, heartbeats, Matplotlib plots: experimental, but tested here.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

# User attributes of a study.
DIGEST = "mnist12k.digest"
FINISHED = "mnist12k.finished"  # whether `mnist12k tune` has ended, so that workers end as well


def study_name(settings: SearchSettings) -> str:
    """Return the name of a search's study; those of its finalists start with it."""
    return f"mnist12k-{study_digest(settings)[:8]}"


def open_study(settings: SearchSettings, finalists: str = "") -> optuna.Study:
    """Open the study of these settings, or create it; with a finalists' digest, their study.

    Raises UserError if the storage fails or has another study of the same name.
    """
    digest = study_digest(settings) + finalists
    name = study_name(settings) + (f"-finalists-{finalists[:8]}" if finalists else "")
    with storage_errors(settings):
        study = optuna.create_study(
            storage=open_storage(settings.tune.storage),
            pruner=NopPruner() if finalists else new_pruner(settings),
            study_name=name,
            load_if_exists=True,
        )
        if DIGEST not in study.user_attrs and not study.get_trials(deepcopy=False):
            study.set_user_attr(DIGEST, digest)
        known = study.user_attrs.get(DIGEST)
    if known != digest:
        raise UserError(
            f"tune.storage has a study {name} of other inputs; move it away, or change tune.seed"
        )
    return study


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
