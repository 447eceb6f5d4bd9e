"""Which tests run together on one worker, and in which order the workers take them: a file is one unit, and the longest go first.

    schedule.py REPORT...     writes seconds.json anew, from what `pytest --junitxml=REPORT` wrote
"""

import collections
import json
import pathlib
import sys
import xml.etree.ElementTree

from xdist.scheduler import LoadScopeScheduling

#: Seconds of each file in an earlier run. They decide about the order alone.
RECORD = pathlib.Path(__file__).with_name("seconds.json")
#: What a test takes in a file that was never measured.
TYPICAL = 3


class Schedule(LoadScopeScheduling):
    def __init__(self, config, log=None):
        super().__init__(config, log)
        self.seconds = json.loads(RECORD.read_text())

    def _split_scope(self, nodeid):
        return nodeid.split("::", 1)[0]

    def _assign_work_unit(self, node):
        self.workqueue.move_to_end(max(self.workqueue, key=self.length), last=False)
        super()._assign_work_unit(node)

    def length(self, scope):
        return self.seconds.get(pathlib.PurePath(scope).stem, TYPICAL * len(self.workqueue[scope]))


def record(reports):
    seconds = collections.Counter()
    for report in reports:
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            seconds[case.get("classname", "").split(".")[-1]] += float(case.get("time"))
    RECORD.write_text(json.dumps({name: round(time) for name, time in seconds.most_common()}, indent=0) + "\n")


if __name__ == "__main__":
    record(sys.argv[1:])
