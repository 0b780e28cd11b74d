"""MLflow: one run a training. Only here is mlflow imported."""

import os

# Before mlflow is imported, and only where the user has not said otherwise.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing phones home
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # files of a few kilobytes
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes for language models
    # A server that is down costs seconds, not MLflow's default minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}.items():
    os.environ.setdefault(_name, _value)
