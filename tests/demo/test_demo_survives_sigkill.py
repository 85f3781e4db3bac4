"""The main job's promise: a node killed in the middle ends with the output of an undisturbed one."""

import signal
import time

import pytest

from penstock.app.cli.demo import free_port, start_node, stop_node
from penstock.app.cli.flights import BAD_FILES, Flights, daily_files

DAYS = 8
LAYERS = ("silver/", "gold/", "rejected/", "reports/", "quarantine/")
pytestmark = [pytest.mark.slow, pytest.mark.real_clients, pytest.mark.timeout(400), pytest.mark.xdist_group("demo")]


def _feed(flights):
    flights.deploy()
    for name, body, _ in daily_files(DAYS):
        flights.upload(name, body)
    for name, body in BAD_FILES.items():
        flights.upload(name, body)


def _output(flights):
    """Every byte that the pipeline made, by key."""
    return {key: flights.read(key) for layer in LAYERS for key in flights.objects(layer)}


def test_killed_in_the_middle_and_started_again_it_ends_with_the_same_output(tmp_path):
    pytest.importorskip("penstock.app.main", reason="the node isn't built")
    outputs = []
    for name, is_killed in (("calm", False), ("killed", True)):
        port = free_port()
        node = start_node(tmp_path / name, port)
        try:
            flights = Flights(f"http://127.0.0.1:{port}")
            _feed(flights)
            if is_killed:
                while not flights.objects("silver/"):
                    time.sleep(0.02)
                assert len(flights.objects("gold/")) < DAYS, "too late to be in the middle"
                node.send_signal(signal.SIGKILL)
                node.wait()
                node = start_node(tmp_path / name, port)
            flights.wait(days=DAYS, bad=len(BAD_FILES))
            outputs.append(_output(flights))
        finally:
            stop_node(node)
    calm, killed = outputs
    assert sorted(calm) == sorted(killed)
    assert calm == killed
