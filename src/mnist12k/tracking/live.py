"""A training shown while it runs. What fails here never stops it: `publish` completes the run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from mnist12k.cnn.history import Epoch
from mnist12k.params import Params
from mnist12k.tracking.attempts import Attempts
from mnist12k.tracking.runs import create_run, end_abandoned_runs, log_epochs, now
from mnist12k.tracking.store import connect


@contextmanager
def live_run(params: Params) -> Iterator[Callable[[Epoch], None]]:
    """Keep a run open while the block trains; yield what logs an epoch as it ends.

    The run ends as FINISHED, as KILLED by Ctrl-C, or as FAILED.
    """
    attempt = Attempts()
    started = now()

    def begin() -> tuple[MlflowClient, str, SystemMetricsMonitor]:
        client, experiment_id = connect()
        end_abandoned_runs(client, experiment_id)
        run_id = create_run(client, experiment_id, params, started)
        monitor = SystemMetricsMonitor(run_id)
        monitor.start()
        return client, run_id, monitor

    begun = attempt(begin)
    if begun is None:
        yield lambda _: None
        return
    client, run_id, monitor = begun
    status = "FAILED"
    try:
        yield lambda epoch: attempt(
            lambda: log_epochs(client, run_id, [epoch], now() - epoch.seconds)
        )
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        attempt(monitor.finish)
        attempt(lambda: client.set_terminated(run_id, status))
