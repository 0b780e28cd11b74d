"""The results of a search: its tables, its verdict in words and in figures."""

import statistics

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from mnist12k.cnn.history import Epoch
from mnist12k.outputs import TRIAL_COLUMNS, VALIDATION, TuneMetrics
from mnist12k.report.markdown import table
from mnist12k.search.digest import study_digest
from mnist12k.search.intervals import mean_with_interval
from mnist12k.search.picture_pruning import rank_correlations
from mnist12k.search.queue import POINT, finished
from mnist12k.search.race import RACE, START, VERDICT, losses_of, verdict
from mnist12k.search.settings import SearchSettings
from mnist12k.search.space import Cases, parse_space
from mnist12k.search.study import SEARCH
from mnist12k.search.trial import ACCURACY, epochs_of


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row per finished trial: `TRIAL_COLUMNS`, then its hyperparameters."""
    trials = finished(study)
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = []
    for trial in trials:
        epochs = epochs_of(trial)
        seconds = round(sum(epoch.seconds for epoch in epochs), 3)
        result = (trial.state.name.lower(), trial.value, trial.user_attrs.get(ACCURACY))
        parameters = map(trial.params.get, names)
        rows.append((trial.number, *result, len(epochs), seconds, *parameters))
    # Objects, since pandas would turn an integer column with empty cells into floats.
    return pd.DataFrame(rows, columns=[*TRIAL_COLUMNS, *names], dtype=object)


def epochs_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row per epoch of each finished trial: the trial's number, then `Epoch`."""
    rows = [(trial.number, *epoch) for trial in finished(study) for epoch in epochs_of(trial)]
    return pd.DataFrame(rows, columns=["trial", *Epoch._fields], dtype=object)


def ranking(
    settings: SearchSettings, study: optuna.Study, results: pd.DataFrame, verdict: TuneMetrics
) -> str:
    """Return the verdict, the race, and the best of every case, in Markdown.

    `results` are those of `finalist_results`.
    """
    tune = settings.tune
    return (
        f"# Is there a better recipe than {tune.recipe}?\n\n"
        f"**{verdict.verdict.capitalize()}**: {verdict.summary()}.\n\n"
        f"All losses are on the {settings.train.validation_size:,} images of the hold-out set; the "
        "test images were not used.\n"
        "The difference is the mean of the differences by seed, with its 95 % interval. These "
        "seeds chose\nnothing.\n\n"
        "## The race\n\n"
        "The recipe, the best trials and the best of every case trained from one fresh seed after "
        "another.\nWhoever was behind the leader by more than chance dropped out.\n\n"
        f"{race_table(study, results)}"
        f"{''.join(cases_table(name, study, results) for name in cases_of(settings))}"
        f"{pruning_table(settings, study)}"
    )


def race_table(study: optuna.Study, results: pd.DataFrame) -> str:
    """Return the race in Markdown: one row per finalist, who stayed longest first."""
    racing = results[results["round"] == RACE].dropna()
    losses = {str(trial.number): trial for trial in finished(study)}
    recipe = racing[racing["trial"] == START].set_index("seed")["validation_loss"]
    rows = []
    for name, own in racing.groupby("trial", sort=False):
        loss = own.set_index("seed")["validation_loss"]
        differences = (loss - recipe).dropna().tolist() if name != START else []
        trial = losses.get(str(name))
        rows.append(
            [
                "the recipe" if name == START else f"trial {name}",
                str(len(own)),
                f"{statistics.mean(loss.tolist()):.5f}",
                interval(differences),
                f"{trial.value:.5f}" if trial else "",
                described(trial) if trial else "",
            ]
        )
    rows.sort(key=lambda row: (-int(row[1]), row[2]))
    header = ["finalist", "seeds", "mean loss", "difference to the recipe", "in the search", "with"]
    return table(header, rows)


def interval(differences: list[float]) -> str:
    """Return a mean difference with its interval; empty below two values."""
    if len(differences) < 2:
        return ""
    mean, low, high = mean_with_interval(differences)
    return f"{mean:+.5f} ({low:+.5f} to {high:+.5f})"


def described(trial: FrozenTrial) -> str:
    """Return a trial's hyperparameters in a few words."""
    values = trial.user_attrs.get(POINT, trial.params).items()
    return ", ".join(f"{name} {short(value)}" for name, value in values) or "the recipe itself"


def short(value: object) -> str:
    """Return a hyperparameter with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def cases_of(settings: SearchSettings) -> list[str]:
    """Return the names of the space's parameters that have cases."""
    space = parse_space(settings.tune.space)
    return [name for name, dimension in space.items() if isinstance(dimension, Cases)]


def cases_table(name: str, study: optuna.Study, results: pd.DataFrame) -> str:
    """Return a section in Markdown: the trials of every case, and the best of them."""
    racing = results[results["round"] == RACE].dropna()
    means = racing.groupby("trial")["validation_loss"].agg(statistics.mean).to_dict()
    rows = []
    trials = [trial for trial in finished(study) if name in trial.params]
    for case in dict.fromkeys(trial.params[name] for trial in trials):
        own = [trial for trial in trials if trial.params[name] == case]
        complete = sorted(
            (trial for trial in own if trial.value is not None),
            key=lambda trial: trial.value or 0,
        )
        row = [str(case), str(len(own)), str(len(complete))]
        if complete:
            best = complete[0]
            in_race = means.get(str(best.number))
            row += [str(best.number), f"{best.value:.5f}"]
            row += [f"{in_race:.5f}" if in_race is not None else ""]
        rows.append(row + [""] * (6 - len(row)))
    header = [name, "trials", "complete", "the best", "its loss in the search", "in the race"]
    return f"\n## By {name}\n\n{table(header, rows)}"


def pruning_table(settings: SearchSettings, study: optuna.Study) -> str:
    """Return a section in Markdown: what it would cost to stop trials early; empty if unknown."""
    space = parse_space(settings.tune.space)
    correlations = rank_correlations(trials_table(study), epochs_table(study), space)
    if correlations.empty:
        return ""
    rows = [
        [group, str(count), str(epoch), f"{saved:.0%}", f"{rank:.2f} ({low:.2f} to {high:.2f})"]
        for group, epoch, saved, count, rank, low, high in correlations.to_numpy(object).tolist()
    ]
    header = ["trials", "number", "stopped after epoch", "epochs saved", "rank correlation"]
    return (
        "\n## What pruning would cost\n\n"
        "Spearman's rank correlation between the loss after an epoch and the last one, over the "
        f"complete\ntrials, with its 95 % interval.\n\n{table(header, rows)}"
    )


def metrics(
    settings: SearchSettings,
    study: optuna.Study,
    finalists_study: optuna.Study,
    results: pd.DataFrame,
    challenger: str,
) -> TuneMetrics:
    """Return the cost of the search, and the verdict on its challenger."""
    trials = finished(study)
    found = verdict(losses_of(results), challenger, settings.tune)
    means: dict[str, float] = {}
    if found.mean is not None:
        judged = results[results["round"] == VERDICT]
        pairs = judged.pivot_table(values=VALIDATION, index="seed", columns="trial").dropna()
        for column in VALIDATION:
            for name, prefix in ((challenger, "challenger"), (START, "start")):
                means[f"{prefix}_{column}_mean"] = statistics.mean(pairs[column, name].tolist())
    return TuneMetrics(
        study=study.study_name,
        search=study.user_attrs[SEARCH],
        fingerprint=study_digest(settings),
        trials=len(trials),
        pruned=sum(trial.state == TrialState.PRUNED for trial in trials),
        epochs=len(epochs_table(study)),
        trainings_of_finalists=len(results),
        epochs_of_finalists=len(epochs_table(finalists_study)),
        start_recipe=settings.tune.recipe,
        challenger_trial=int(challenger),
        verdict=found.verdict,
        verdict_seeds=found.seeds,
        difference_mean=found.mean,
        difference_low=found.low,
        difference_high=found.high,
        **means,
    )
