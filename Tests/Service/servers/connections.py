"""Connections to a service that stay open from one request to the next."""

import threading

import requests


class Connections(threading.local):
    """A session of `requests` for each thread, which trusts one CA certificate."""

    made = None

    def __init__(self, authority, headers=dict):
        """`headers` returns the headers of a thread's session, and is called before the thread's first request."""
        self.authority, self.headers = str(authority), headers

    @property
    def session(self):
        if self.made is None:
            self.made = requests.Session()
            # Otherwise the CA files of environment variables have priority over those of the session.
            self.made.trust_env, self.made.verify = False, self.authority
            self.made.headers.update(self.headers())
        return self.made

    def forget(self):
        """Drops this thread's connections, so that its next request opens a new one."""
        self.made = None
