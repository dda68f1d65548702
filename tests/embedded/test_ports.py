"""A busy port is said in one line: which, for whom, who holds it, and how to choose another."""

from __future__ import annotations

import os
import re
import socket

import psutil
import pytest

from betting_assets.embedded.ports import HOST, PortsError, check_ports, free_port, is_free


def test_a_busy_port_is_named_with_its_holder_and_another_to_choose() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortsError) as error:
            check_ports({"dagster": port, "mlflow": free_port()})
    said = str(error.value)
    name = re.escape(psutil.Process().name())
    match = re.fullmatch(
        rf"port {port} for dagster is taken by {name} \(pid {os.getpid()}\): "
        r"stop that, or choose another, BETTING_DAGSTER_PORT=(\d+)",
        said,
    )
    assert match, said
    assert int(match[1]) != port
    assert is_free(int(match[1]))


def test_a_listener_on_all_addresses_counts_as_busy() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server, pytest.raises(PortsError, match="mlflow"):
        check_ports({"mlflow": server.getsockname()[1]})


def test_one_port_for_two_services_is_refused() -> None:
    port = free_port()
    with pytest.raises(PortsError, match=rf"port {port} is given to both dagster and serving: .*BETTING_SERVING_PORT="):
        check_ports({"dagster": port, "serving": port})


def test_free_ports_pass() -> None:
    check_ports({"dagster": free_port(), "mlflow": free_port()})
