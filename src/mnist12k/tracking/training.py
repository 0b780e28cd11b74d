"""MLflow: one run a training."""
