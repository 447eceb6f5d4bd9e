"""Waiting for what comes about by itself."""

import time

from scratch import PATIENCE

#: Seconds between two looks.
PAUSE = 0.05


def until(condition, what=None, seconds=PATIENCE, holds=bool):
    """Waits until a function returns a value that `holds`, and returns that value.

    `what` is said when the time is over: a text, or a function that returns one; without it, the last value is.
    """
    deadline = time.monotonic() + seconds
    while not holds(value := condition()):
        if time.monotonic() >= deadline:
            said = what() if callable(what) else what or f"the condition does not hold: {getattr(value, 'text', value)}"
            raise AssertionError(f"after {seconds} s: {said}")
        time.sleep(PAUSE)
    return value
