"""Which tests run in turns, and in which order: a file is one unit of a worker, and the longest go first.

seconds.json says how long tests took when `FIELDSEAL_TEST_RECORD=1 make test` last wrote it. It decides about the order, and with
`FIELDSEAL_TEST_IN_TURNS=1` about which long tests take turns, and about nothing else.
"""

import collections
import json
import pathlib

from xdist.scheduler import LoadScopeScheduling

RECORD = pathlib.Path(__file__).with_name("seconds.json")
#: A test that takes more seconds than this is a long one.
LONG = 2
#: Each long test is tried in one of so many runs.
TURNS = 6
#: What a test takes in a file that was never measured.
TYPICAL = 3


def recorded():
    """Seconds of each file, by its name without its end, and of each long test, by its file and name."""
    seconds = json.loads(RECORD.read_text())
    return seconds["files"], seconds["tests"]


def short_name(nodeid):
    """The file's and the test's name."""
    path, *rest = nodeid.split("::")
    return "::".join([pathlib.PurePath(path).stem, *rest])


def turn(tests, seed):
    """The long tests whose turn it is with this seed. Each run of turns has about the same number of seconds, and each long test one turn."""
    in_order = sorted(tests, key=lambda test: (-tests[test], test))
    return {test for place, test in enumerate(in_order) if (place - seed) % TURNS == 0}


class Schedule(LoadScopeScheduling):
    def __init__(self, config, log=None):
        super().__init__(config, log)
        self.seconds, _ = recorded()

    def _split_scope(self, nodeid):
        return nodeid.split("::", 1)[0]

    def _assign_work_unit(self, node):
        self.workqueue.move_to_end(max(self.workqueue, key=self.length), last=False)
        super()._assign_work_unit(node)

    def length(self, scope):
        return self.seconds.get(pathlib.PurePath(scope).stem, TYPICAL * len(self.workqueue[scope]))


class Recorder:
    """Adds up the seconds of a run's tests. A test's own are without those of what it shares with others."""

    def __init__(self):
        self.files, self.tests = collections.Counter(), collections.Counter()

    def pytest_runtest_logreport(self, report):
        name = short_name(report.nodeid)
        self.files[name.split("::")[0]] += report.duration
        if report.when == "call":
            self.tests[name] += report.duration

    def pytest_sessionfinish(self):
        """Writes what was measured over what an earlier run measured of the same."""
        files, tests = recorded()
        files |= {name: round(seconds) for name, seconds in self.files.items()}
        tests = {name: seconds for name, seconds in tests.items() if name not in self.tests}
        tests |= {name: round(seconds, 1) for name, seconds in self.tests.items() if seconds > LONG}
        RECORD.write_text(json.dumps({"files": ordered(files), "tests": ordered(tests)}, indent=0) + "\n")


def ordered(seconds):
    return dict(sorted(seconds.items(), key=lambda item: (-item[1], item[0])))
