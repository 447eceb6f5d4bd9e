"""Two PostgreSQL servers, etcd and two servers of the service, each on its own machine. The network between machines can be cut in one or both
directions."""

import contextlib
import signal

from network import Network
from patroni import Patroni
from server import Server, make_certificate

#: For each partition: which connections of the primary are cut, and whether another PostgreSQL becomes the primary.
PARTITIONS = {
    "everything": True, "etcd": True, "what it sends to etcd": True, "what etcd sends to it": True, "a Patroni that hangs": True,
    "its standby": False, "what its standby sends to it": False, "the servers": False, "what it sends to the servers": False}


class Place:
    """The machines and their servers. With `is_balanced`, the second server of the service reaches PostgreSQL through an HAProxy on its machine."""

    def __init__(self, is_balanced=False):
        with contextlib.ExitStack() as stack:
            self.network = Network()
            stack.callback(self.network.remove)
            self.patroni = Patroni(machine=self.network.machine)
            stack.callback(self.patroni.remove)
            machines = [self.network.machine(f"server-{number}") for number in range(2)]
            make_certificate(self.patroni.home, *(machine.host for machine in machines))
            self.network.heal()
            ways = ["direct", self.patroni.balance(machines[1]) if is_balanced else "direct"]
            self.servers = []
            for machine, settings in zip(machines, ways):
                self.servers.append(Server(self.patroni, settings, machine=machine))
                stack.callback(self.servers[-1].stop)
            self.stack = stack.pop_all()

    def cut(self, name):
        """Cuts the network around the primary. Returns the primary and its standby at that moment."""
        primary, standby = self.patroni.leader(), self.patroni.standby()
        etcd, servers = self.patroni.place, [server.machine for server in self.servers]
        if name == "a Patroni that hangs":
            primary.process.send_signal(signal.SIGSTOP)
        sender, receivers, both = {
            "everything": (primary.machine, [etcd, standby.machine, *servers], True),
            "etcd": (primary.machine, [etcd], True),
            "what it sends to etcd": (primary.machine, [etcd], False),
            "what etcd sends to it": (etcd, [primary.machine], False),
            # The PostgreSQL of the stopped Patroni still runs as a primary, and the servers can reach it.
            "a Patroni that hangs": (primary.machine, [etcd, standby.machine], True),
            "its standby": (primary.machine, [standby.machine], True),
            "what its standby sends to it": (standby.machine, [primary.machine], False),
            "the servers": (primary.machine, servers, True),
            "what it sends to the servers": (primary.machine, servers, False)}[name]
        self.network.cut(sender, *receivers, both=both)
        return primary, standby

    def heal(self, primary):
        primary.process.send_signal(signal.SIGCONT)
        self.network.heal()
