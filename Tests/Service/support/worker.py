"""Threads that repeat a step until a test stops them."""

import threading

from service import PATIENCE


class Worker:
    """Calls step() in threads again and again, until stop() is called. A subclass defines step()."""

    def __init__(self, count=1):
        self.stopped, self.errors = threading.Event(), []
        self.threads = [threading.Thread(target=self.work) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def work(self):
        try:
            while not self.stopped.is_set():
                self.step()
        except Exception as error:
            self.errors.append(error)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert self.errors == [], self.errors
