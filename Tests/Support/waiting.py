"""Waiting for what comes about by itself."""

import time

from scratch import PATIENCE

#: Seconds between two looks.
PAUSE = 0.05


def until(condition, what="the condition does not hold", seconds=PATIENCE):
    """Waits until a function returns a true value, and returns that.

    `what` is said when the time is over: a text, or a function that returns one.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {seconds} s: {what() if callable(what) else what}"
        time.sleep(PAUSE)
    return value
