"""Ports on loopback."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping

import psutil

HOST = "127.0.0.1"


class PortsError(RuntimeError):
    """A port cannot be had; the message is one line that says who holds it and how to choose another."""


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether `port` can be bound on loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def check_ports(ports: Mapping[str, int]) -> None:
    """Check that every service can have its port.

    Args:
        ports: by the name in its setting: {"dagster": 3000} is what BETTING_DAGSTER_PORT chooses.

    Raises:
        PortsError: names every port that is busy, or given twice.
    """
    complaints = []
    first: dict[int, str] = {}
    for name, port in ports.items():
        other = first.setdefault(port, name)
        if other != name:
            complaints.append(f"port {port} is given to both {other} and {name}: {_choose(name, port, first)}")
        elif not is_free(port):
            complaints.append(
                f"port {port} for {name} is taken by {_holder(port)}: stop that, or "
                f"{_choose(name, port, ports.values())}"
            )
    if complaints:
        raise PortsError("; ".join(complaints))


def _choose(name: str, port: int, given: Collection[int]) -> str:
    spare = next((one for one in range(port + 1, 65536) if one not in given and is_free(one)), None)
    return f"choose another, BETTING_{name.upper()}_PORT={spare or free_port()}"


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:  # macOS shows other processes' sockets to root only; or it just ended
        pass
    return "a process that is not visible to us"
