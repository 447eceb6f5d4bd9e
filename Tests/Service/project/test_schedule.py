"""Long tests take turns in `make test`."""

import os
import pathlib
import subprocess
import sys

import pytest
from schedule import LONG, TURNS, recorded, turn

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_each_long_test_has_one_turn_and_turns_are_alike():
    _, tests = recorded()
    # A date, the end of a month, and small numbers.
    for first in (20261128, 20261231, 0, 7):
        turns = [turn(tests, first + number) for number in range(TURNS)]
        assert sorted(test for chosen in turns for test in chosen) == sorted(tests)
        seconds = [sum(tests[test] for test in chosen) for chosen in turns]
        assert max(seconds) - min(seconds) <= max(tests.values()), seconds
    assert min(tests.values()) >= LONG


def collected(**environment):
    """The tests of this folder's longest file that pytest would run."""
    _, tests = recorded()
    file = max(tests, key=tests.get).split("::")[0]
    [path] = (ROOT / "Tests/Service").rglob(f"{file}.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", path], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "FIELDSEAL_SEED": "1", "FIELDSEAL_TEST_FULL": "", "FIELDSEAL_TEST_IN_TURNS": "", **environment})
    assert run.returncode in (0, 5), run.stdout
    return {line.rsplit("/", 1)[1].replace(".py::", "::") for line in run.stdout.splitlines() if "::" in line}


@pytest.mark.parametrize("seed", ["1", "2"])
def test_what_waits_is_left_out_in_turns_alone(seed):
    _, tests = recorded()
    everything, chosen = collected(FIELDSEAL_SEED=seed), collected(FIELDSEAL_SEED=seed, FIELDSEAL_TEST_IN_TURNS="1")
    assert chosen == everything - (set(tests) - turn(tests, int(seed))) and chosen < everything
