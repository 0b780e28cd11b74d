"""Processes by a name that outlives them, to tell whether what they left open is abandoned."""

import socket

import psutil


def this_process() -> str:
    """Name this process so that another of the same number is not taken for it."""
    process = psutil.Process()
    return f"{socket.gethostname()}/{process.pid}@{process.create_time():.0f}"


def is_gone(name: str) -> bool:
    """Tell whether the process of that name was one of this machine and has ended."""
    host, _, process = name.rpartition("/")
    if host != socket.gethostname():
        return False
    pid, _, created = process.partition("@")
    try:
        found = psutil.Process(int(pid))
        return found.status() == psutil.STATUS_ZOMBIE or f"{found.create_time():.0f}" != created
    except (psutil.NoSuchProcess, ValueError):
        return True
