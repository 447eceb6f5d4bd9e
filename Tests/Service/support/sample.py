"""Samples of cases, because a run of `make test` can't try all of them. Each run draws a new sample. `make test-full` tries all cases."""

import os
import random

#: Whether all cases are tried.
FULL = bool(os.environ.get("FIELDSEAL_TEST_FULL"))
#: The seed of the samples and random walks. `conftest.py` chooses it for a run, and the run prints it.
SEED = int(os.environ["FIELDSEAL_SEED"])


def chooser(*purpose):
    """A separate random generator for each purpose. With the same seed it returns the same numbers."""
    return random.Random(f"{SEED} {purpose}")


def drawn(cases, count, *purpose):
    """Draws `count` of the cases, in their order. In a full run, returns all of them."""
    cases = list(cases)
    if FULL or len(cases) <= count:
        return cases
    return [cases[index] for index in sorted(chooser(*purpose).sample(range(len(cases)), count))]


def length(usual, full):
    """The number of steps of a random walk: `usual`, or `full` in a full run."""
    return full if FULL else usual
