"""Security events that are not linked into the chain yet."""

import contextlib

import psycopg


@contextlib.contextmanager
def unlinked(service):
    """Locks the attested state, so that the service can't link new events into the chain."""
    with psycopg.connect(service.dev["postgres"]) as lock:
        lock.execute("SELECT FROM config.attested_state FOR UPDATE")
        yield
