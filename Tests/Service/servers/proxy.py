"""A proxy between a program and PostgreSQL. It reads the statements in the messages (PostgreSQL documentation, chapter 55.7) and can interrupt one of them."""

import contextlib
import signal
import socket
import struct
import threading

# Interruptions of the program or its connection, before a statement reaches PostgreSQL or after PostgreSQL's response.
ACTIONS = ["kill before", "kill after", "terminate before", "terminate after", "cut before", "cut after"]
# Interruptions that lose only the response to the end of a transaction. With "lose answer", PostgreSQL commits before the connection is closed.
# With "cut sent", the connection is closed as soon as the statement is sent.
LOSSES = ["lose answer", "cut sent"]
# Errors that PostgreSQL returns instead of running a statement: a deadlock, a serialization failure, a full disk.
FAILURES = ["fail 40P01", "fail 40001", "fail 53100"]
# Statements that a program sends depending on the time. They are not counted, because a second run would send them at other places.
TIMED = ("UPDATE config.key_change SET phase", "SELECT set_config('application_name'")


class Proxy:
    """Forwards TCP connections on a free port to PostgreSQL's socket. A test sets `strike`, a function that gets each statement's number and SQL, and
    returns an interruption or None. With `within`, it is called only in transactions that contain a statement with this text."""

    def __init__(self, socket_path, terminate=None):
        self.target = socket_path
        self.terminate = terminate
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock, self.striking = threading.Lock(), threading.Lock()
        self.failure = None
        self.reset()
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self, strike=None, process=None, within=""):
        """Starts counting at 0 with a new `strike`. Raises the error of an earlier call of `strike`, if there was one."""
        with self.lock:
            self.statements, self.strike, self.process, self.struck, self.within = [], strike, process, None, within
            failure, self.failure = self.failure, None
        if failure:
            raise failure

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.target)
            except OSError:
                client.close()
                continue
            Link(self, client, server).start()

    def decide(self, sql, transaction):
        """Counts a statement, which is the last one in `transaction`. Returns the interruption for it, or None."""
        with self.lock:
            if sql.strip().startswith(TIMED):
                return None
            number, strike = len(self.statements), self.strike
            self.statements.append(sql)
            if not strike or self.struck or not any(self.within in statement for statement in transaction):
                return None
        # `strike` may wait for a lock of another connection. So a connection that waits here for a second goes on without calling it.
        if not self.striking.acquire(timeout=1):
            return None
        try:
            action = strike(number, sql)
        finally:
            self.striking.release()
        with self.lock:
            if not action or self.struck or strike is not self.strike:
                return None
            self.struck = (number, sql, action)
            return action


class Link:
    """One connection of a client through the proxy to PostgreSQL."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.prepared, self.backend = {}, None
        # The statements since the last BEGIN, including it.
        self.transaction = []
        self.pending = None
        # The number of transactions whose response is outstanding. It begins at 1, because PostgreSQL sends one ReadyForQuery before the first.
        self.unanswered, self.losing = 1, None

    def start(self):
        threading.Thread(target=self._guard, args=(self._forward,), daemon=True).start()
        threading.Thread(target=self._guard, args=(self._backward,), daemon=True).start()

    def _guard(self, run):
        try:
            with contextlib.suppress(OSError, EOFError):
                run()
        except Exception as failure:
            # The connection is closed, so the client fails at once. `reset` raises the error in the test.
            self.proxy.failure = failure
        finally:
            self._cut()

    def _cut(self):
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _read(self, end, count):
        data = b""
        while len(data) < count:
            part = end.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _forward(self):
        # The first message has no type: it is the startup packet, or a request for encryption or cancellation.
        length = self._read(self.client, 4)
        self.server.sendall(length + self._read(self.client, struct.unpack(">I", length)[0] - 4))
        while True:
            head = self._read(self.client, 5)
            body = self._read(self.client, struct.unpack(">I", head[1:])[0] - 4)
            sql = self._statement(head[:1], body)
            if sql:
                self.transaction = [sql] if sql.startswith("BEGIN") else [*self.transaction, sql]
            action = self.proxy.decide(sql, self.transaction) if sql else None
            if action and action.startswith("fail"):
                self.server.sendall(self._failing(head[:1], action.split()[1]))
                continue
            if action in LOSSES:
                self.losing = (action, self.unanswered + 1)
            elif action and action.endswith("before"):
                self._strike(action)
            elif action:
                self.pending = action
            if head[:1] in (b"S", b"Q"):
                self.unanswered += 1
            self.server.sendall(head + body)
            if self.losing and self.losing[0] == "cut sent" and head[:1] in (b"S", b"Q"):
                self._cut()
                raise EOFError

    def _failing(self, kind, state):
        """The message to send instead of a statement's message, so that PostgreSQL fails with the SQLSTATE `state`."""

        def message(kind, body):
            return kind + struct.pack(">I", len(body) + 4) + body

        sql = f"DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{state}'; END $$".encode()
        if kind == b"Q":
            return message(b"Q", sql + b"\0")
        if kind == b"c":
            return message(b"f", b"injected\0")
        # This replaces a Bind: an unnamed statement is parsed and bound without parameters. The client's Execute and Sync follow.
        unnamed = message(b"P", b"\0" + sql + b"\0" + struct.pack(">H", 0))
        return unnamed + message(b"B", b"\0\0" + struct.pack(">HHH", 0, 0, 0))

    def _statement(self, kind, body):
        """The SQL of the statement that a message starts, or None if the message starts no statement."""
        if kind == b"Q":
            return body[:-1].decode()
        if kind == b"P":
            name, sql = body.split(b"\0")[:2]
            self.prepared[name] = sql.decode()
        if kind == b"B":
            return self.prepared.get(body.split(b"\0")[1])
        if kind == b"c":
            return "end of COPY"
        return None

    def _backward(self):
        while True:
            head = self._read(self.server, 5)
            body = self._read(self.server, struct.unpack(">I", head[1:])[0] - 4)
            if head[:1] == b"Z":
                self.unanswered -= 1
                if self.losing:
                    self.losing = (self.losing[0], self.losing[1] - 1)
                    if self.losing[1] == 0:
                        self._cut()
                        raise EOFError
            if self.losing:
                continue
            if head[:1] == b"K":
                self.backend = struct.unpack(">I", body[:4])[0]
            # The first of these messages is the response to a statement: it is complete, has failed, or begins a COPY.
            if self.pending and head[:1] in b"CEGH":
                action, self.pending = self.pending, None
                self._strike(action)
            self.client.sendall(head + body)

    def _strike(self, action):
        what = action.split()[0]
        if what == "kill":
            self.proxy.process().send_signal(signal.SIGKILL)
            self.proxy.process().wait()
            self._cut()
            raise EOFError
        if what == "cut":
            self._cut()
            raise EOFError
        if what == "terminate":
            self.proxy.terminate(self.backend)
