"""Ports that no program listens on."""

import socket


def free_port():
    """A port for a server that a test starts at once. Another program could take the port later."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
