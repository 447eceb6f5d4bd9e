"""A network inside of this process: machines in network namespaces, joined by a bridge, and cables that can be cut, also in one direction only.

The namespaces have no names. A namespace exists as long as the process that holds it, and an interface exists as long as its namespace. The
holding processes end with this process, no matter how it ends, so nothing is left behind.
"""

import os
import pathlib
import shutil
import subprocess

from patroni import Machine
from service import PATIENCE
from waiting import until

#: A range that is reserved for tests of networks (RFC 2544), so these addresses reach no real machine.
RANGE = "198.18"
#: A hardware address that no machine has.
NO_MACHINE = "02:00:00:00:ff:ff"
NETWORK = "/proc/{}/ns/net"


class CannotMakeNetworks(Exception):
    """This machine can't have network namespaces. The tests of partitions need root, iproute2 and util-linux."""


def ip(*arguments, inside=None):
    """Runs ip(8) in the namespace of this process, or of the process `inside`."""
    prefix = ["nsenter", f"--net={NETWORK.format(inside)}"] if inside else []
    result = subprocess.run([*prefix, "ip", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    if result.returncode:
        raise CannotMakeNetworks(f"{CannotMakeNetworks.__doc__} ip {' '.join(map(str, arguments))}: {result.stderr.strip()}")
    return result.stdout


class Holder:
    """A process that keeps its network namespace alive, and does nothing else."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.pid = self.process.pid
        until(self.is_apart)

    def is_apart(self):
        if self.process.poll() is not None:
            raise CannotMakeNetworks(f"{CannotMakeNetworks.__doc__} {self.process.stderr.read().decode().strip()}")
        return os.readlink(NETWORK.format(self.pid)) != os.readlink(NETWORK.format("self"))

    def end(self):
        self.process.kill()
        self.process.wait(PATIENCE)


class Node(Machine):
    """A machine of the network. A program that runs in it has only the machine's address."""

    def __init__(self, network, name, number):
        self.network, self.name, self.number = network, name, number
        self.host, self.hardware = f"{network.prefix}.{number}", f"02:00:00:00:00:{number:02x}"
        self.holder = Holder()
        ip("link", "add", f"cable{number}", "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid, inside=network.hub.pid)
        ip("link", "set", f"cable{number}", "master", "bridge", "up", inside=network.hub.pid)
        for arguments in (["link", "set", "lo", "up"], ["link", "set", "eth0", "address", self.hardware, "up"],
                          ["address", "add", f"{self.host}/24", "dev", "eth0"]):
            ip(*arguments, inside=self.holder.pid)

    def ports(self, *usual):
        return usual

    def enter(self, arguments, as_postgres=False):
        """The command line that runs a program in this machine's namespace."""
        user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if as_postgres else []
        return ["nsenter", f"--net={NETWORK.format(self.holder.pid)}", *user, *arguments]

    def start(self, arguments, as_postgres=False, **options):
        return subprocess.Popen(self.enter(arguments, as_postgres), cwd="/", stdin=subprocess.DEVNULL, **options)

    def sends(self, other, hardware):
        ip("neighbour", "replace", other.host, "lladdr", hardware, "dev", "eth0", "nud", "permanent", inside=self.holder.pid)


def interface(number):
    """The path in /sys of the interface in this process's namespace that leads to network `number`."""
    return pathlib.Path("/sys/class/net", f"fieldseal{number}")


class Network:
    def __init__(self):
        if os.getuid() != 0 or not all(map(shutil.which, ("ip", "nsenter", "setpriv", "unshare"))):
            raise CannotMakeNetworks(CannotMakeNetworks.__doc__)
        number = next(n for n in range(256) if not interface(n).exists())
        self.prefix, self.cable = f"{RANGE}.{number}", interface(number).name
        self.nodes, self.hub = {}, Holder()
        try:
            ip("link", "add", "bridge", "type", "bridge", inside=self.hub.pid)
            ip("link", "set", "bridge", "up", inside=self.hub.pid)
            # From this process, each machine can be reached, even if it is cut off from all other machines.
            ip("link", "add", self.cable, "type", "veth", "peer", "name", "tests", "netns", self.hub.pid)
            ip("link", "set", "tests", "master", "bridge", "up", inside=self.hub.pid)
            ip("address", "add", f"{self.prefix}.254/24", "dev", self.cable)
            ip("link", "set", self.cable, "up")
        except BaseException:
            self.remove()
            raise

    def machine(self, name):
        """Adds a machine with this name to the network."""
        node = self.nodes[name] = Node(self, name, len(self.nodes) + 1)
        return node

    def cut(self, sender, *receivers, both=True):
        """Drops all packets from a machine to the receivers, without an error at either side. With `both`, also drops the packets in the other direction."""
        for receiver in receivers:
            sender.sends(receiver, NO_MACHINE)
            if both:
                receiver.sends(sender, NO_MACHINE)

    def heal(self):
        for node in self.nodes.values():
            for other in self.nodes.values():
                if other is not node:
                    node.sends(other, other.hardware)

    def remove(self):
        for holder in [*(node.holder for node in self.nodes.values()), self.hub]:
            holder.end()
        # The namespace of the hub ends with its process. That removes the hub's end of the cable, and with it this end.
        until(lambda: not pathlib.Path("/sys/class/net", self.cable).exists())
