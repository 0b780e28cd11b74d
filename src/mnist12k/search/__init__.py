"""Hyperparameter search; the only package that imports Optuna. This module imports nothing."""
