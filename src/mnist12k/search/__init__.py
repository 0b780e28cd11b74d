"""Hyperparameter search. Only here is Optuna imported."""

import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)  # each trial is told in a line of our own
# The Wilcoxon pruner, the heartbeat, the matplotlib pictures: named in params.yaml or tested here.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
