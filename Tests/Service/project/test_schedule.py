"""In `make test`, the tests of long files take turns from day to day, and a long file runs in parts."""

import datetime
import os
import pathlib
import subprocess
import sys

import pytest
from schedule import ALWAYS, LONG, PART, TURNS, TURNS_ALONE, recorded, seed_of, short_name, units, waiting

ROOT = pathlib.Path(__file__).resolve().parents[3]


def collected(*paths, **environment):
    """The short names of the tests that pytest collects."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", *paths], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "FIELDSEAL_SEED": "1", "FIELDSEAL_TEST_FULL": "", "FIELDSEAL_TEST_IN_TURNS": "", **environment})
    assert run.returncode in (0, 5), run.stdout
    return [short_name(line) for line in run.stdout.splitlines() if "::" in line]


@pytest.fixture(scope="module")
def everything():
    return collected("Tests/Service")


def test_each_test_has_its_turn_and_turns_are_alike(everything):
    found = units(everything)
    assert sorted(name for _, group in found for name in group) == sorted(everything)
    always = {name for seconds, group in found if seconds <= ALWAYS for name in group}
    for first in (739_948, 0, 7):
        turns = [set(everything) - waiting(everything, first + number) for number in range(TURNS)]
        assert set.intersection(*turns) == always
        assert sorted(name for turn in turns for name in turn - always) == sorted(set(everything) - always)
        seconds = [sum(seconds for seconds, group in found if group[0] in turn) for turn in turns]
        assert max(seconds) - min(seconds) <= max(seconds for seconds, _ in found), seconds


@pytest.mark.parametrize("turns", [TURNS, TURNS_ALONE])
def test_so_many_days_have_all_turns(turns):
    days = [datetime.date(2026, 1, 1) + datetime.timedelta(number) for number in range(400)]
    for first in range(len(days) - turns):
        assert {seed_of(day) % turns for day in days[first:first + turns]} == set(range(turns)), days[first]


def test_tests_that_run_alone_have_turns_of_their_own(everything):
    alone = set(everything[::50])
    turns = [set(everything) - waiting(everything, number, alone) for number in range(TURNS_ALONE)]
    assert sorted(name for turn in turns for name in turn & alone) == sorted(alone)
    assert max(len(turn & alone) for turn in turns) - min(len(turn & alone) for turn in turns) <= 1
    others = [name for name in everything if name not in alone]
    for number, turn in enumerate(turns):
        assert turn - alone == set(others) - waiting(others, number)


def test_a_long_file_is_parted_in_its_order(everything):
    _, tests = recorded()
    assert min(tests.values()) >= LONG
    long = max(everything, key=lambda name: tests.get(name, 0)).split("::")[0]
    of_file = [name for name in everything if name.startswith(f"{long}::")]
    parts = [group for _, group in units(everything) if group[0] in of_file]
    assert len(parts) > 1 and [name for part in parts for name in part] == of_file
    # A part may be longer than the limit if it is a single test.
    assert all(len(part) == 1 or sum(tests.get(name, 0) for name in part) < 2 * PART for part in parts)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_what_waits_is_left_out_in_turns_alone(seed):
    folders = ("Tests/Service/keys", "Tests/Service/router", "Tests/Service/console")
    some = collected(*folders, FIELDSEAL_SEED=seed)
    chosen = collected(*folders, FIELDSEAL_SEED=seed, FIELDSEAL_TEST_IN_TURNS="1")
    assert set(chosen) == set(some) - waiting(some, int(seed)) and 0 < len(chosen) < len(some) / 2
