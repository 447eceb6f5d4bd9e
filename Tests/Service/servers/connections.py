"""HTTP connections to a service that stay open between requests."""

import threading

import requests


class Connections(threading.local):
    """A session of `requests` for each thread. It trusts one CA certificate."""

    made = None

    def __init__(self, authority, headers=dict):
        """`headers` is a function that returns the headers of a thread's session. It is called before the thread's first request."""
        self.authority, self.headers = str(authority), headers

    @property
    def session(self):
        if self.made is None:
            self.made = requests.Session()
            # Without this, `requests` would prefer CA files that environment variables name.
            self.made.trust_env, self.made.verify = False, self.authority
            self.made.headers.update(self.headers())
        return self.made

    def forget(self):
        """Drops this thread's session, so that its next request opens a new connection."""
        self.made = None
