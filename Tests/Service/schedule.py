"""Which tests run in turns, and in which order: a file, or a part of a long one, is one unit of a worker, and the longest run first. seconds.json
says how long tests took when `FIELDSEAL_TEST_RECORD=1 make test-all` last wrote it. It is used only for parts, turns and order."""

import collections
import itertools
import json
import pathlib

from xdist.scheduler import LoadScopeScheduling

RECORD = pathlib.Path(__file__).with_name("seconds.json")
#: A test that takes more seconds than this has its own entry in seconds.json.
LONG = 2
#: The assumed seconds of any other test.
TYPICAL = 1
#: A file that takes more seconds than this is run in parts of about this length.
PART = 100
#: Files whose tests continue from the state that the previous test left. They are never divided.
WHOLE = {"test_doctor_whole", "test_kek", "test_kek_sources"}
#: A unit that takes more seconds than this runs only when it is its turn.
ALWAYS = 5
#: A unit that waits for its turn runs in one of so many runs.
TURNS = 48
#: A test that runs alone has its turn in one of so many runs.
TURNS_ALONE = 8


def recorded():
    """The seconds of each file, by its name without the extension, and of each long test, by file and name."""
    seconds = json.loads(RECORD.read_text())
    return seconds["files"], seconds["tests"]


def short_name(nodeid):
    """The names of the file and the test."""
    path, *rest = nodeid.split("::")
    return "::".join([pathlib.PurePath(path).stem, *rest])


def units(names):
    """The tests with these short names, as [(seconds, names)]: whole files, and parts of long files."""
    files, tests = recorded()
    grouped = collections.defaultdict(list)
    for name in names:
        grouped[name.split("::")[0]].append(name)
    found = []
    for file, group in grouped.items():
        seconds = [tests.get(name, TYPICAL) for name in group]
        if sum(seconds) <= PART or file in WHOLE:
            found.append((files.get(file, sum(seconds)), group))
        else:
            found += parts(group, seconds)
    return found


def parts(group, seconds):
    """Divides a file's tests, in order, into parts of about the same number of seconds."""
    count = round(sum(seconds) / PART)
    middles = [end - own / 2 for end, own in zip(itertools.accumulate(seconds), seconds, strict=True)]
    place = [int(middle * count / sum(seconds)) for middle in middles]
    for _, numbers in itertools.groupby(range(len(group)), key=lambda number: place[number]):
        numbers = list(numbers)
        yield sum(seconds[number] for number in numbers), [group[number] for number in numbers]


def seed_of(day):
    """A new seed each day, so that all runs of one day choose the same tests. The next day has the next turn."""
    return day.toordinal()


def waiting(names, seed, alone=()):
    """The tests whose turn it is not with this seed. Each test has one turn, and all turns take about the same number of seconds. The tests in
    `alone`, which run while no other test does, have separate turns."""
    alone = sorted(alone)
    others = [name for name in names if name not in alone]
    long = sorted((unit for unit in units(others) if unit[0] > ALWAYS), key=lambda unit: (-unit[0], unit[1]))
    later = {name for place, (_, group) in enumerate(long) if (place - seed) % TURNS for name in group}
    return later | {name for place, name in enumerate(alone) if (place - seed) % TURNS_ALONE}


class Schedule(LoadScopeScheduling):
    def __init__(self, config, log=None):
        super().__init__(config, log)
        self.scopes, self.seconds = {}, {}

    def _split_scope(self, nodeid):
        if not self.scopes:
            # All workers have collected the same tests.
            nodeids = {short_name(one): one for one in next(iter(self.registered_collections.values()))}
            for seconds, group in units(nodeids):
                self.seconds[group[0]] = seconds
                self.scopes |= {nodeids[name]: group[0] for name in group}
        return self.scopes[nodeid]

    def _assign_work_unit(self, node):
        self.workqueue.move_to_end(max(self.workqueue, key=self.seconds.get), last=False)
        super()._assign_work_unit(node)


class Recorder:
    """Adds up the seconds of a run's tests. A test's own seconds do not include the fixtures that it shares with others."""

    def __init__(self):
        self.files, self.tests = collections.Counter(), collections.Counter()

    def pytest_runtest_logreport(self, report):
        name = short_name(report.nodeid)
        self.files[name.split("::")[0]] += report.duration
        if report.when == "call":
            self.tests[name] += report.duration

    def pytest_sessionfinish(self):
        """Replaces in seconds.json the values of the tests that this run measured."""
        files, tests = recorded()
        files |= {name: round(seconds) for name, seconds in self.files.items()}
        tests = {name: seconds for name, seconds in tests.items() if name not in self.tests}
        tests |= {name: round(seconds, 1) for name, seconds in self.tests.items() if seconds > LONG}
        RECORD.write_text(json.dumps({"files": ordered(files), "tests": ordered(tests)}, indent=0) + "\n")


def ordered(seconds):
    return dict(sorted(seconds.items(), key=lambda item: (-item[1], item[0])))
