"""Connections to a service that stay open from one request to the next."""

import threading

import requests


class Connections(threading.local):
    """A session of `requests` for each thread, which trusts one authority."""

    made = None

    def __init__(self, authority, headers=dict):
        """`headers` is asked for each thread's own when its first request is sent."""
        self.authority, self.headers = str(authority), headers

    @property
    def session(self):
        if self.made is None:
            self.made = requests.Session()
            # Else the environment's authorities go before the session's.
            self.made.trust_env, self.made.verify = False, self.authority
            self.made.headers.update(self.headers())
        return self.made

    def forget(self):
        """Leaves this thread's connections: its next request opens another one."""
        self.made = None
