"""Ports that no program listens on."""

import socket


def free_port():
    """A free port, for a server that the test starts at once. Later, another program could use the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
