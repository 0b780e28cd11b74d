"""MLflow: one run a training. Only here is mlflow imported."""

import os

# Before mlflow is imported: it neither phones home nor prints an address at the end of each run.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
