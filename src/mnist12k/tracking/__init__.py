"""MLflow: one run a training. Only here is mlflow imported."""
