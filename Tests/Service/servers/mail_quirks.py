"""IMAP, POP3 and SMTP servers with faults of real servers. For example, one message is refused, is missing, is quoted, or ends the connection."""

import base64
import re
import socket
import ssl
import threading


class MailServer(threading.Thread):
    """A server with one mailbox of messages (bytes by UID). `quirk` is the fault with which it treats the message `odd`."""

    def __init__(self, certificate, messages, quirk="", odd=2):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.with_suffix(".pem"), certificate.with_suffix(".key"))
        self.messages, self.quirk, self.odd = dict(messages), quirk, odd
        self.commands, self.connections = [], 0
        #: The response that refuses a sign-in. If it is empty, sign-ins are accepted.
        self.sign_in = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        try:
            connection.settimeout(60)
            with self.context.wrap_socket(connection, server_side=True) as stream, stream.makefile("rb") as lines:
                self.talk(stream, lines)
        except (OSError, ValueError):
            pass

    def stop(self):
        # Closing a listener does not end accept() in another thread, so the listener is shut down before.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class IMAPServer(MailServer):
    validity = 7

    def talk(self, stream, lines):
        def say(data):
            stream.sendall(data)

        say(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n")
        for line in lines:
            tag, _, command = line.strip().partition(b" ")
            self.commands.append(command.decode(errors="replace"))
            if self.answer(say, tag, command, command.upper()):
                return

    def answer(self, say, tag, command, verb):
        """Responds to a command. Returns whether the connection ends."""
        if verb.startswith(b"AUTHENTICATE") and self.sign_in:
            say(tag + b" " + self.sign_in + b"\r\n")
            return False
        if verb.startswith(b"CAPABILITY"):
            say(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n")
        elif verb.startswith((b"EXAMINE", b"SELECT")):
            # The numbers are correct. The words have unusual upper and lower case.
            say(b"* %d EXISTS\r\n* ok [UidValidity %d] valid\r\n* OK [UIDNEXT %d] next\r\n" % (
                len(self.messages), self.validity, max(self.messages, default=0) + 1))
        elif verb.startswith(b"STATUS"):
            say(b"* STATUS INBOX (UIDVALIDITY %d UIDNEXT %d)\r\n" % (self.validity, max(self.messages, default=0) + 1))
        elif verb.startswith(b"UID FETCH"):
            uids = self.chosen(command.split()[2].decode())
            if b"BODY.PEEK[]" in verb:
                if self.fetch(say, uids, tag):
                    return True
                if self.quirk in ("no", "bad") and self.odd in uids:
                    say(b"%s %s the message is not available\r\n" % (tag, self.quirk.upper().encode()))
                    return False
            elif b"HEADER.FIELDS" in verb:
                for uid in uids:
                    id = re.search(rb"(?im)^Message-ID:.*\r\n", self.messages[uid])
                    field = (id.group() if id else b"") + b"\r\n"
                    say(b"* %d FETCH (UID %d BODY[HEADER.FIELDS (MESSAGE-ID)] {%d}\r\n%s)\r\n" % (uid, uid, len(field), field))
            else:
                for uid in uids:
                    say(b"* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE \"24-Nov-2026 10:00:00 +0000\")\r\n" % (uid, uid, len(self.messages[uid])))
        elif verb.startswith(b"LOGOUT"):
            say(b"* BYE\r\n%s OK\r\n" % tag)
            return True
        say(tag + b" OK done\r\n")
        return False

    def chosen(self, text):
        uids = set()
        for part in text.split(","):
            first, _, last = part.partition(":")
            end = max(self.messages, default=0) if last == "*" else int(last or first)
            uids |= {uid for uid in self.messages if int(first) <= uid <= end}
        return sorted(uids)

    def fetch(self, say, uids, tag):
        """Responds to a FETCH. Returns whether the connection ends."""
        for uid in uids:
            data = self.messages[uid]
            quirk = self.quirk if uid == self.odd else ""
            quoted = b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
            answers = {
                "missing": b"* %d FETCH (UID %d)\r\n" % (uid, uid), "nothing": b"", "no": b"", "bad": b"",
                "nil": b"* %d FETCH (UID %d BODY[] NIL)\r\n" % (uid, uid), "empty": b'* %d FETCH (UID %d BODY[] "")\r\n' % (uid, uid),
                "quoted": b"* %d FETCH (UID %d BODY[] %s)\r\n" % (uid, uid, quoted),
                "lower": b"* %d fetch (uid %d body[] {%d}\r\n%s)\r\n" % (uid, uid, len(data), data),
                "reversed": b"* %d FETCH (BODY[] {%d}\r\n%s FLAGS (\\Seen) UID %d)\r\n" % (uid, len(data), data, uid),
                "between": b"* %d EXISTS\r\n* 1 EXPUNGE\r\n* OK [ALERT] a word (UID 1 BODY[] {3})\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n* 2 RECENT\r\n" % (
                    len(self.messages), uid, uid, len(data), data),
                "nils": b'* %d FETCH (ENVELOPE NIL BODYSTRUCTURE (NIL ("a" NIL) NIL) X-GM-LABELS ("\\\\Sent" {3}\r\n(a) ~{1}\r\n") BODY[] ~{%d}\r\n%s MODSEQ (17) UID %d FLAGS NIL)\r\n' % (uid, len(data), data, uid),
                "origin": b"* %d FETCH (FLAGS () UID %d BODY[]<0> ~{%d}\r\n%s)\r\n" % (uid, uid, len(data), data),
            }
            if quirk == "bye":
                say(b"* BYE the message can't be read\r\n")
                return True
            if quirk == "closed":
                say(b"* %d FETCH (UID %d BODY[] {%d}\r\n%s" % (uid, uid, len(data), data[:20]))
                return True
            say(answers.get(quirk, b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (uid, uid, len(data), data)))
        return False


class IdlingServer(IMAPServer):
    """An IMAP server with IDLE (RFC 2177). `manner` is "well" or a fault: it refuses IDLE, ends IDLE, does not confirm its end, or closes the connection."""

    def __init__(self, certificate, messages=(), manner="well"):
        self.manner, self.lock, self.users, self.refused, self.news = manner, threading.Lock(), [], set(), 0
        #: The users whose connections are in IDLE now, and the number of all IDLE commands so far.
        self.idling, self.idles = [], 0
        #: A message (UID, bytes) that arrives during the next IDLE. It is announced in the packet that confirms IDLE. None if no message arrives.
        self.sudden = None
        super().__init__(certificate, messages)

    def deliver(self, uid, data):
        """Adds a message, and announces it to connections in IDLE."""
        with self.lock:
            self.messages[uid] = data
            self.news += 1

    def talk(self, stream, lines):
        def say(data):
            stream.sendall(data)

        user = ""
        #: The number of deliveries that this connection has announced, in a list so that `idle` can change it. A new delivery is announced at the next IDLE.
        told = [0]
        say(b"* OK [CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN SASL-IR] ready\r\n")
        for line in lines:
            tag, _, command = line.strip().partition(b" ")
            verb = command.upper()
            self.commands.append(command.decode(errors="replace"))
            if verb.startswith(b"AUTHENTICATE"):
                _, name, password = base64.b64decode(command.split()[-1]).split(b"\0")
                user = name.decode()
                if user in self.refused or password.decode() in self.refused:
                    say(tag + b" NO [UNAVAILABLE] too many connections\r\n")
                    continue
                self.users.append((user, password.decode()))
                say(tag + b" OK signed in\r\n")
            elif verb == b"CAPABILITY":
                say(b"* CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN SASL-IR\r\n" + tag + b" OK\r\n")
            elif verb == b"IDLE":
                self.idles += 1
                if self.manner == "refuses":
                    say(tag + b" NO not now\r\n")
                elif self.manner == "drops":
                    say(b"+ idling\r\n")
                    return
                elif not self.idle(stream, say, tag, user, told):
                    return
            else:
                if verb.startswith((b"EXAMINE", b"SELECT")):
                    told[0] = self.news
                if self.answer(say, tag, command, verb):
                    return

    def idle(self, stream, say, tag, user, told):
        """Responds to IDLE. Returns whether the connection continues."""
        announced = b""
        if self.sudden:
            sudden, self.sudden = self.sudden, None
            self.deliver(*sudden)
            told[0], announced = self.news, b"* %d EXISTS\r\n" % len(self.messages)
        say(b"+ idling\r\n" + announced)
        self.idling.append(user)
        stream.settimeout(0.2)
        try:
            while True:
                if told[0] != self.news:
                    told[0] = self.news
                    say(b"* %d EXISTS\r\n" % len(self.messages))
                if self.manner == "ends":
                    say(tag + b" OK that is all\r\n")
                    return True
                if self.manner == "goodbye":
                    say(b"* BYE the server is restarted\r\n")
                    return False
                try:
                    data = stream.recv(100)
                except TimeoutError:
                    continue
                if not data:
                    return False
                if self.manner != "never confirms":
                    say(tag + b" OK done\r\n")
                return not data.upper().startswith(b"DONE\r\nR0")
        finally:
            self.idling.remove(user)
            stream.settimeout(60)


class POP3Server(MailServer):
    def talk(self, stream, lines):
        # Message numbers are valid only in this session.
        numbers = dict(enumerate(sorted(self.messages), 1))
        deleted = set()

        def say(data):
            stream.sendall(data)

        def each(text):
            say(b"+OK\r\n" + b"".join(b"%d %s\r\n" % (number, text(uid)) for number, uid in numbers.items()) + b".\r\n")

        say(b"+OK ready\r\n")
        for line in lines:
            word, _, rest = line.strip().partition(b" ")
            self.commands.append(line.strip().decode(errors="replace"))
            word = word.upper()
            if word == b"CAPA":
                say(b"+OK\r\nUSER\r\nUIDL\r\nSASL PLAIN\r\n.\r\n")
            elif word == b"LIST":
                each(self.sized)
            elif word == b"UIDL":
                each(self.name)
            elif word == b"RETR":
                uid = numbers[int(rest)]
                quirk = self.quirk if uid == self.odd else ""
                if quirk == "no":
                    say(b"-ERR the message is not available\r\n")
                elif quirk == "closed":
                    say(b"+OK\r\nSubject: half")
                    return
                else:
                    text = re.sub(rb"(?m)^\.", b"..", self.messages[uid])
                    say(b"+OK\r\n" + text + (b"" if text.endswith(b"\n") else b"\r\n") + b".\r\n")
            elif word == b"DELE":
                deleted.add(numbers[int(rest)])
                say(b"+OK\r\n")
            elif word == b"QUIT":
                for uid in deleted:
                    self.messages.pop(uid, None)
                say(b"+OK\r\n")
                return
            elif word == b"AUTH" and self.sign_in:
                say(self.sign_in + b"\r\n")
            elif word == b"AUTH" and not rest.partition(b" ")[2]:
                say(b"+ \r\n")
            else:
                say(b"+OK\r\n")

    def sized(self, uid):
        return b"%d" % len(self.messages[uid])

    @staticmethod
    def name(uid):
        return b"unique-%d" % uid


class SMTPServer(MailServer):
    """Accepts messages as (sender, recipients, bytes) into `taken`. The arguments of `__init__` define its faults."""

    def __init__(self, certificate, extensions=("PIPELINING", "8BITMIME", "AUTH PLAIN LOGIN"), most=None, delay=0, hangs_up_at=b"", refuses=b"", words=b"452 4.5.3 Error: too many recipients"):
        self.taken, self.extensions, self.most, self.delay, self.hangs_up_at, self.refuses, self.words = [], extensions, most, delay, hangs_up_at, refuses, words
        self.answer = threading.Event()
        # Whether the server closes the connection after the last byte of a message, without a response.
        self.hangs_up_after_data = False
        #: The response to a recipient that the server refuses.
        self.refusal = b"550 5.1.1 no such user"
        # The number of messages that get a response at once. Later ones wait for `delay`.
        self.prompt = 0
        super().__init__(certificate, {})

    def serve(self, connection):
        # The server uses TLS from the first byte, because STARTTLS would need a further handshake here.
        super().serve(connection)

    def talk(self, stream, lines):
        def say(text):
            stream.sendall(text + b"\r\n")

        say(b"220 ready")
        sender, recipients = b"", []
        for line in lines:
            line = line.rstrip(b"\r\n")
            self.commands.append(line.decode(errors="replace"))
            verb = line.upper()
            if self.hangs_up_at and self.hangs_up_at in line:
                return
            if verb.startswith(b"EHLO"):
                words = [b"localhost", *[e.encode() for e in self.extensions]]
                for index, word in enumerate(words):
                    say(b"250%s%s" % (b" " if index == len(words) - 1 else b"-", word))
            elif verb.startswith(b"AUTH"):
                say(self.sign_in or b"235 signed in")
            elif verb.startswith(b"MAIL"):
                sender, recipients = line, []
                say(b"250 ok")
            elif verb.startswith(b"RCPT"):
                if self.refuses and self.refuses in line:
                    say(self.refusal)
                elif self.most and len(recipients) >= self.most:
                    say(self.words)
                else:
                    recipients.append(re.search(rb"<(.*)>", line)[1].decode())
                    say(b"250 ok")
            elif verb == b"DATA":
                say(b"354 go on")
                data = b""
                while not data.endswith(b"\r\n.\r\n"):
                    data += lines.readline()
                self.taken.append((sender.decode(), recipients, data[:-3]))
                if self.hangs_up_after_data:
                    return
                if self.delay and len(self.taken) > self.prompt:
                    self.answer.wait(self.delay)
                say(b"250 taken")
            elif verb == b"QUIT":
                say(b"221 bye")
                return
            else:
                say(b"250 ok")
