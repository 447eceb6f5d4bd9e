"""What `make test` tries of cases that are too many for each run: a sample, drawn anew for each run. `make test-full` tries all."""

import os
import random

#: Whether all is tried.
FULL = bool(os.environ.get("FIELDSEAL_TEST_FULL"))
#: Draws the samples and leads the random walks. `conftest.py` chooses it for a run, which prints it.
SEED = int(os.environ["FIELDSEAL_SEED"])


def chooser(*purpose):
    """A source of random numbers of its own for each purpose, which the seed repeats."""
    return random.Random(f"{SEED} {purpose}")


def drawn(cases, count, *purpose):
    """`count` of the cases in their order, or all of them in a full run."""
    cases = list(cases)
    if FULL or len(cases) <= count:
        return cases
    return [cases[index] for index in sorted(chooser(*purpose).sample(range(len(cases)), count))]


def length(usual, full):
    """How long a random walk is."""
    return full if FULL else usual
