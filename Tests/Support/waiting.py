"""Waits for conditions."""

import time

from scratch import PATIENCE

#: The seconds between two checks of a condition.
PAUSE = 0.05


def until(condition, what=None, seconds=PATIENCE, holds=bool):
    """Calls `condition` until `holds` is true for its value, and returns that value.

    If that takes longer than `seconds`, raises an AssertionError. Its message is `what`, a text or a function that returns one, and otherwise the
    last value.
    """
    deadline = time.monotonic() + seconds
    while not holds(value := condition()):
        if time.monotonic() >= deadline:
            said = what() if callable(what) else what or f"the condition does not hold: {getattr(value, 'text', value)}"
            raise AssertionError(f"after {seconds} s: {said}")
        time.sleep(PAUSE)
    return value
