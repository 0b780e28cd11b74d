"""What a search minimises: the validation loss and, if asked, what a training or network costs."""

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from mnist12k.cnn.history import Epoch
from mnist12k.search.queue import POINT, loss_of
from mnist12k.search.settings import SearchSettings, Tune
from mnist12k.search.space import with_lists
from mnist12k.search.trial import EPOCHS

ON_FRONT = "on_front"


def names(tune: Tune) -> list[str]:
    """Return the names of a search's objectives, of which the validation loss is the first."""
    return ["validation loss", *([tune.second_objective] if tune.second_objective else [])]


def cost(trial: optuna.Trial, settings: SearchSettings) -> float:
    """Return the second objective of a trial that has been trained: its seconds, or parameters."""
    if settings.tune.second_objective == "seconds":
        return round(sum(Epoch(*epoch).seconds for epoch in trial.user_attrs[EPOCHS]), 3)
    point = trial.user_attrs.get(POINT, with_lists(trial.params))
    return settings.network(point)[1].parameters()


class UnreportedTrial(optuna.Trial):
    """A trial of two objectives: Optuna neither accepts its losses by epoch, nor prunes it."""

    def report(self, value: float, step: int) -> None:
        """Do nothing."""

    def should_prune(self) -> bool:
        """Return False."""
        return False


def front_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row per complete trial: its number, its objectives, whether it is on the front.

    On the Pareto front is every trial that no other one beats in one objective without being worse
    in the other. The rows are sorted by the second objective; a study of one objective has none.
    """
    if len(study.directions) == 1:
        return pd.DataFrame()
    front = {trial.number for trial in study.best_trials}
    columns = ["trial", *(name.replace(" ", "_") for name in study.metric_names or ())]
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    rows = [(trial.number, *trial.values, trial.number in front) for trial in complete]
    table = pd.DataFrame(rows, columns=[*columns, ON_FRONT])
    return table.sort_values([columns[-1], columns[1]], ignore_index=True)


def with_one_objective(trial: FrozenTrial) -> FrozenTrial:
    """Return a complete trial with its validation loss alone."""
    return optuna.trial.create_trial(
        params=trial.params, distributions=trial.distributions, value=loss_of(trial)
    )
