"""Process names that outlive their processes, to recognise work that was abandoned."""

import socket

import psutil


def this_process() -> str:
    """Return this process's name: host, number and start time, since numbers are reused."""
    process = psutil.Process()
    return f"{socket.gethostname()}/{process.pid}@{process.create_time():.0f}"


def is_gone(name: str) -> bool:
    """Return whether the process of that name ran on this machine and has ended."""
    host, _, process = name.rpartition("/")
    if host != socket.gethostname():
        return False
    pid, _, created = process.partition("@")
    try:
        running = psutil.Process(int(pid))
        return running.status() == psutil.STATUS_ZOMBIE or f"{running.create_time():.0f}" != created
    except (psutil.NoSuchProcess, ValueError):
        return True
