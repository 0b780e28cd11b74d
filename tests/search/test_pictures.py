from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from scipy import stats

from mnist12k.search.lowess import lowess
from mnist12k.search.picture_pruning import draw_pruning, rank_correlations
from mnist12k.search.picture_race import draw_race
from mnist12k.search.picture_style import PALETTE
from mnist12k.search.pictures import draw_by_choice, draw_by_range, draw_search
from mnist12k.search.plots import bootstrap_importances, draw_importances, draw_study
from mnist12k.search.space import Space, parse_space

CASES = ["one_cycle", "cosine", "step"]
SPACE = parse_space(
    {
        "learning_rate": {"low": 0.05, "high": 1.5, "log": True},
        "dropout": [{"low": 0, "high": 0.1}] * 2,
        "schedule": {"one_cycle": {"warm_up": {"low": 0, "high": 1}}, "cosine": {}, "step": {}},
        "batch_size": [32, 64],
    }
)
LAST = 4  # epoch


def search(count: int = 40) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return trials, every fifth of them pruned after two epochs, and their epochs."""
    generator = np.random.default_rng(0)
    trials, epochs = [], []
    for number in range(count):
        pruned = number % 5 == 4
        losses = generator.uniform(0.02, 0.04) * (1 + generator.uniform(0, 1, LAST) / 4)
        losses = losses[:2] if pruned else losses
        epochs += [(number, epoch, loss) for epoch, loss in enumerate(losses, start=1)]
        rate, *dropout = generator.uniform([0.05, 0, 0], [1.5, 0.1, 0.1])
        case = CASES[number % 3]
        warm_up = generator.uniform() if case == "one_cycle" else None
        state = "pruned" if pruned else "complete"
        size = 32 * (1 + number % 2)
        trials.append((number, state, losses[-1], rate, *dropout, case, size, warm_up))
    names = ["learning_rate", "dropout.0", "dropout.1", "schedule", "batch_size", "warm_up"]
    return (
        pd.DataFrame(trials, columns=["trial", "state", "validation_loss", *names]),
        pd.DataFrame(epochs, columns=["trial", "epoch", "validation_loss"]),
    )


def race(seeds: dict[str, int], verdict: int) -> pd.DataFrame:
    """Return finalists trained from these numbers of seeds; the first one gets the verdict."""
    generator = np.random.default_rng(1)
    rows = [(name, 2 + i, "race") for name, count in seeds.items() for i in range(count)]
    best = next(name for name in seeds if name != "start")
    rows += [(name, 50 + i, "verdict") for name in ("start", best) for i in range(verdict)]
    table = pd.DataFrame(rows, columns=["trial", "seed", "round"])
    return table.assign(validation_loss=generator.uniform(0.02, 0.03, len(table)))


def complete(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[trials["state"] == "complete"]


def lines(axes: Axes, label: str) -> list[tuple[list[float], list[float]]]:
    """Return x and y of the lines with a label."""
    found = [line for line in axes.get_lines() if line.get_label() == label]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in found]  # type: ignore[arg-type]


def titled(figure: Figure, title: str) -> Axes:
    (axes,) = (axes for axes in figure.axes if axes.get_title("left").startswith(title))
    return axes


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    figure.draw_without_rendering()
    return figure


def test_by_choice_has_a_dot_per_complete_trial_at_its_loss() -> None:
    trials, _ = search()
    figure = drawn(draw_by_choice(trials, race({"0": 1, "start": 1}, 0), SPACE))
    for name in ("schedule", "batch_size"):
        axes = titled(figure, name)
        for case, group in complete(trials).groupby("schedule"):
            x = sorted(loss for xs, _ in lines(axes, str(case)) for loss in xs)
            assert x == sorted(group["validation_loss"])
    rows = [text.get_text() for text in titled(figure, "batch_size").get_yticklabels()]
    assert rows == ["32\n16 complete, 4 pruned", "64\n16 complete, 4 pruned"]
    assert titled(figure, "batch_size").get_xlabel() == "mean validation loss"


def test_by_choice_marks_the_best_with_its_interval_over_the_race() -> None:
    trials, _ = search()
    best = complete(trials).sort_values("validation_loss").groupby("schedule").head(1)
    numbers = {row.schedule: str(row.trial) for row in best.itertuples()}
    seeds = {numbers["one_cycle"]: 5, numbers["step"]: 1, "start": 5}  # one seed: no interval
    finalists = race(seeds, verdict=3)
    axes = titled(drawn(draw_by_choice(trials, finalists, SPACE)), "schedule")
    rings = lines(axes, "the best trial, with its number")
    assert sorted(x for xs, _ in rings for x in xs) == sorted(best["validation_loss"])
    assert [text.get_text() for text in axes.texts] == [numbers[case] for case in CASES]
    (container,) = axes.containers
    (bar,) = container.lines[2]  # type: ignore[attr-defined]
    ends = bar.get_segments()[0][:, 0]
    raced = finalists[finalists["round"] == "race"].set_index("trial")["validation_loss"]
    test = stats.ttest_1samp(raced[numbers["one_cycle"]], 0)
    assert ends == pytest.approx(list(test.confidence_interval()))


def test_by_range_has_a_panel_per_range_with_dots_coloured_by_case() -> None:
    trials, _ = search()
    figure = drawn(draw_by_range(trials, SPACE))
    panels = {axes.get_xlabel(): axes for axes in figure.axes}
    assert list(panels) == ["learning_rate", "dropout.0", "dropout.1"]
    assert figure.axes[0].get_ylabel() == "mean validation loss"
    assert panels["learning_rate"].get_xscale() == "log"
    assert panels["dropout.0"].get_xscale() == "linear"
    for name, axes in panels.items():
        for case, group in complete(trials).groupby("schedule"):
            ((x, y),) = lines(axes, str(case))
            assert x == list(group[name])
            assert y == list(group["validation_loss"])
    assert legend(figure) == [*CASES, "smoothed (LOWESS)"]


def test_a_case_has_one_colour_in_all_pictures_by_its_place_in_the_space() -> None:
    trials, epochs = search()
    trials = trials[trials["schedule"] != "one_cycle"]  # the first; the others keep their colours
    number = trials["trial"].iloc[0]
    finalists = race({str(number): 2, "start": 2}, 0)
    figures = [
        draw_by_choice(trials, finalists, SPACE),
        draw_by_range(trials, SPACE),
        draw_pruning(trials, epochs, SPACE),
        draw_race(trials, finalists, SPACE),
    ]
    colours = {
        (case, to_hex(line.get_color()))
        for figure in figures
        for axes in drawn(figure).axes
        for line in axes.get_lines()
        for case in CASES
        if case in str(line.get_label())
    }
    assert colours == {("cosine", PALETTE[1]), ("step", PALETTE[2])}


def test_few_trials_get_no_smoothed_curve() -> None:
    trials, _ = search(6)
    assert "smoothed (LOWESS)" not in legend(drawn(draw_by_range(trials, SPACE)))


def test_losses_that_span_a_decade_are_on_a_log_axis() -> None:
    trials, _ = search()
    assert drawn(draw_by_range(trials, SPACE)).axes[0].get_yscale() == "linear"
    trials.loc[0, "validation_loss"] = 2.3
    assert drawn(draw_by_range(trials, SPACE)).axes[0].get_yscale() == "log"
    by_choice = drawn(draw_by_choice(trials, race({"0": 1}, 0), SPACE))
    labels = [text.get_text() for text in by_choice.axes[-1].get_xticklabels()]
    assert {"0.02", "0.1", "1"} <= set(labels)  # not powers of ten


def test_lowess_follows_a_line_whatever_some_points_do() -> None:
    x = np.random.default_rng(0).uniform(0, 1, 30)
    y = 2 - 3 * x
    y[::10] += 100
    at = np.linspace(0, 1, 7)
    assert lowess(x, y, at) == pytest.approx(2 - 3 * at, abs=1e-6)


def test_lowess_bears_many_equal_x() -> None:
    x, y = np.repeat([0.0, 1.0], [30, 3]), np.repeat([5.0, 7.0], [30, 3])
    assert lowess(x, y, np.array([0.0])) == pytest.approx([5])


def test_race_draws_running_means_to_the_round_where_a_finalist_was_dropped() -> None:
    trials, _ = search()
    finalists = race({"0": 6, "start": 6, "1": 3}, verdict=4)
    figure = drawn(draw_race(trials, finalists, SPACE))
    axes = titled(figure, "Race")
    raced = finalists[finalists["round"] == "race"].set_index("trial")["validation_loss"]
    labels = {"0": "trial 0, one_cycle", "start": "the recipe"}
    for name, label in (labels | {"1": "trial 1, cosine, dropped after 3"}).items():
        ((x, y),) = lines(axes, label)
        count = len(raced[name])
        assert x == list(range(1, count + 1))
        assert y == pytest.approx([raced[name].iloc[:seeds].mean() for seeds in x])
        assert label in legend(figure)
    crosses = [line for line in axes.get_lines() if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[3]]  # type: ignore[arg-type]
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_the_verdict_is_the_paired_difference_with_its_interval() -> None:
    trials, _ = search()
    finalists = race({"0": 2, "start": 2}, verdict=7)
    axes = titled(drawn(draw_race(trials, finalists, SPACE)), "Verdict")
    verdict = finalists[finalists["round"] == "verdict"].set_index("trial")["validation_loss"]
    challenger, recipe = verdict["0"].to_numpy(), verdict["start"].to_numpy()
    dots = next(line for line in axes.get_lines() if line.get_marker() == "o")
    assert list(dots.get_ydata()) == list(challenger - recipe)  # type: ignore[arg-type]
    low, high = stats.ttest_rel(challenger, recipe).confidence_interval()
    (band,) = axes.patches
    assert band.get_window_extent().transformed(axes.transData.inverted()).intervaly == (
        pytest.approx([low, high])
    )
    mean = (challenger - recipe).mean()
    title = f"Verdict: {mean:.5f} (7 seeds)\n95 % interval {low:.5f} to {high:.5f}"
    assert axes.get_title("left") == title.replace("-", "−")
    assert "below 0: trial 0 is better" in axes.get_ylabel()
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_a_race_without_a_verdict_has_one_panel_and_one_finalist_is_no_race() -> None:
    trials, _ = search()
    assert len(drawn(draw_race(trials, race({"0": 2, "start": 3}, 0), SPACE)).axes) == 1
    assert draw_race(trials, race({"0": 2}, 0), SPACE) is None


def test_rank_correlations_are_spearmans_over_complete_trials() -> None:
    trials, epochs = search()
    table = rank_correlations(trials, epochs, SPACE)
    assert list(table["group"].unique()) == ["every complete trial", *CASES]
    assert list(table["epoch"]) == [1, 2, 3] * 4
    for row in table.to_dict("records"):
        epoch, group = row["epoch"], row["group"]
        chosen = complete(trials)
        if group in CASES:
            chosen = chosen[chosen["schedule"] == group]
        after = epochs[epochs["epoch"] == epoch].set_index("trial")["validation_loss"]
        expected = stats.spearmanr(after[chosen["trial"]], chosen["validation_loss"]).statistic
        assert row["correlation"] == pytest.approx(expected)
        assert row["low"] < row["correlation"] < row["high"]
        assert row["trials"] == len(chosen)
        assert row["epochs_saved"] == pytest.approx(1 - epoch / LAST)


def test_pruning_draws_the_rank_correlations_under_whole_epochs() -> None:
    trials, epochs = search()
    figure = drawn(draw_pruning(trials, epochs, SPACE))
    (axes,) = figure.axes
    for name, rows in rank_correlations(trials, epochs, SPACE).groupby("group"):
        ((x, y),) = lines(axes, f"{name} (n = {rows['trials'].max()})")
        assert (x, y) == (list(rows["epochs_saved"]), list(rows["correlation"]))
    (top,) = axes.child_axes
    assert [text.get_text() for text in top.get_xticklabels()] == ["1", "2", "3"]
    assert axes.get_title("left") == "Complete trials only: 8 of 40 were pruned"


def test_trainings_of_several_lengths_have_no_common_epochs() -> None:
    trials, epochs = search()
    epochs = epochs[(epochs["epoch"] < LAST) | (epochs["trial"] % 2 == 0)]
    assert not drawn(draw_pruning(trials, epochs, SPACE)).axes[0].child_axes


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_drawn_for_fewer_than_two_complete_trials(tmp_path: Path, count: int) -> None:
    trials, epochs = search()
    trials.loc[count:, "state"] = "pruned"
    draw_search(trials, epochs, race({"0": 2, "start": 2}, 2), SPACE, tmp_path)
    draw_study(study(trials), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("space", "names"),
    [
        (SPACE, {"by_choice", "by_range", "race", "pruning"}),
        ({"schedule": SPACE["schedule"]}, {"by_choice", "race", "pruning"}),
        ({"dropout.0": SPACE["dropout.0"]}, {"by_range", "race", "pruning"}),
    ],
)
def test_pictures_are_written_if_there_is_something_to_show(
    tmp_path: Path, space: Space, names: set[str]
) -> None:
    trials, epochs = search()
    draw_search(trials, epochs, race({"0": 2, "start": 2}, 2), space, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())


def test_a_trial_without_hyperparameters_is_drawn_apart() -> None:
    trials, _ = search()
    trials.loc[0, "learning_rate":"warm_up"] = None
    assert legend(drawn(draw_by_range(trials, SPACE)))[3] == "another schedule"


def study(trials: pd.DataFrame) -> optuna.Study:
    """Return a study with these trials."""
    distributions: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(0.05, 1.5, log=True),
        "dropout.0": FloatDistribution(0, 0.1),
        "schedule": CategoricalDistribution(CASES),
        "warm_up": FloatDistribution(0, 1),
    }
    new = optuna.create_study()
    for row in complete(trials).to_dict("records"):
        params = {name: row[name] for name in distributions if pd.notna(row[name])}
        used = {name: distributions[name] for name in params}
        value = float(row["learning_rate"] + row["validation_loss"])
        trial = optuna.trial.create_trial(params=params, distributions=used, value=value)
        new.add_trial(trial)
    return new


def test_importances_are_drawn_with_their_spread_over_bootstraps() -> None:
    trials, _ = search()
    importances = bootstrap_importances(study(trials))
    assert len(importances) == 30
    assert importances.sum(axis="columns").to_list() == pytest.approx([1] * 30)
    assert importances.equals(bootstrap_importances(study(trials)))
    figure = drawn(draw_importances(study(trials)))
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names[-1] == "learning_rate"  # the loss of the study is little else
    (dots,) = axes.get_lines()
    x = np.asarray(dots.get_xdata()).tolist()
    assert x == sorted(x) == [np.median(importances[name]) for name in names]
    ends = [segment[:, 0] for segment in axes.collections[0].get_segments()]  # type: ignore[attr-defined]
    expected = [np.percentile(importances[name], [5, 95]) for name in names]
    assert np.array(ends) == pytest.approx(np.array(expected))
    assert figure.get_supxlabel() == "Left out, since only some trials have them: warm_up"


def test_trials_of_equal_loss_have_no_importances() -> None:
    equal = optuna.create_study()
    for trial in study(search()[0]).trials:
        equal.add_trial(
            optuna.trial.create_trial(
                params=trial.params, distributions=trial.distributions, value=0.02
            )
        )
    assert bootstrap_importances(equal).empty
    assert draw_importances(equal) is None
