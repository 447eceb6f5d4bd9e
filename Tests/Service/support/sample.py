"""Draws samples of cases, because `make test` has no time for all. Each run draws another sample. `make test-full` tries all cases."""

import os
import random

#: Whether this run tries all cases.
FULL = bool(os.environ.get("FIELDSEAL_TEST_FULL"))
#: The seed of samples and random walks. `conftest.py` chooses it for each run, and the run prints it.
SEED = int(os.environ["FIELDSEAL_SEED"])


def chooser(*purpose):
    """A random generator for this purpose. With the same seed, it gives the same numbers."""
    return random.Random(f"{SEED} {purpose}")


def drawn(cases, count, *purpose):
    """Draws this number of cases, in their order. A full run gets all cases."""
    cases = list(cases)
    if FULL or len(cases) <= count:
        return cases
    return [cases[index] for index in sorted(chooser(*purpose).sample(range(len(cases)), count))]


def length(usual, full):
    """The number of steps of a random walk: `usual`, or `full` in a full run."""
    return full if FULL else usual
