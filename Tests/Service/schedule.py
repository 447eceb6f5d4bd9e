"""Which tests run together on one worker, and in which order the workers take them: a file is one unit, and the longest go first."""

import json
import pathlib

from xdist.scheduler import LoadScopeScheduling

#: Seconds of each file in an earlier run, rounded. It decides about the order alone; `Tests/run --record` writes it anew.
RECORD = pathlib.Path(__file__).with_name("seconds.json")
#: What a test takes in a file that was never measured.
TYPICAL = 3


class Schedule(LoadScopeScheduling):
    def __init__(self, config, log=None):
        super().__init__(config, log)
        self.seconds = json.loads(RECORD.read_text())
        # The order is this class's own.
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid):
        return nodeid.split("::", 1)[0]

    def _assign_work_unit(self, node):
        self.workqueue.move_to_end(max(self.workqueue, key=self.length), last=False)
        super()._assign_work_unit(node)

    def length(self, scope):
        name = scope.removeprefix("Tests/Service/")
        return self.seconds.get(name, TYPICAL * len(self.workqueue[scope]))
