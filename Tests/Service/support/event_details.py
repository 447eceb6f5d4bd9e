"""Details of security events, texts and details of alerts, and reports about mailboxes, as the service and the router write them."""

#: Stands for the id of a mailbox.
ID = "00000000-0000-4000-8000-00000000dead"
OTHER = "00000000-0000-4000-8000-00000000beef"
DIGEST = "ab" * 32
ANCHOR = f"sealed up to block 7 (SHA-256 {DIGEST}), kept from block 2"

#: Each kind of event with details: its kind, its outcome and its details.
EVENTS = [
    ("credential released", "refused", f"Incoming, mailbox {ID}: settings not authorized"),
    ("credential released", "refused", f"Outgoing, mailbox {ID}: 0x8005E228"),
    ("credential released", "refused", f"Outgoing, mailbox {ID}: The profile names no server of its outgoing mail."),
    ("credential released", "refused", f"Outgoing, mailbox {ID}: words that no version has"),
    ("credential released", "succeeded", f"Incoming, mailbox {ID}, from mailbox, for localhost:993"),
    ("credential released", "succeeded", f"Outgoing, mailbox {ID}, from none, for localhost:587"),
    ("e-mail not handed over", "refused", f"e-mail {OTHER}, mailbox {ID}: Its mailbox is not its sender's."),
    *(("mail server changed", "succeeded", f"{entity} {OTHER}") for entity in ("emailserverprofile", "mailbox", "queue", "usersettings", "systemuser")),
    *(("mail server changed", "refused", f"{entity} {OTHER}: settings not authorized") for entity in ("emailserverprofile", "mailbox", "queue", "usersettings", "systemuser")),
    ("mail server changed", "succeeded", f"emailserverprofile {OTHER}: it was deleted"),
    ("mail server changed", "refused", f"mailbox {ID}: 2 credentials"),
    ("mail server changed", "refused", f"mailbox {ID}: the database changed username, emailserverprofile"),
    ("e-mails removed", "succeeded", "12 that ended before 2026-01-31T00:00:00Z"),
    ("password set", "succeeded", f"mailbox({ID}).password"),
    ("password replaced", "succeeded", f"mailbox({ID}).password"),
    ("password replaced", "succeeded", f"mailbox({ID}).password, by a refresh token's successor"),
    ("password cleared", "succeeded", f"mailbox({ID}).password"),
    ("event refused", "refused", "key read, succeeded, by user:admin: "),
    ("event refused", "refused", f"credential released, succeeded, by client:dev-router: Incoming, mailbox {ID}, from mailbox, for localhost:993"),
    ("event lost", "failed", f"password set or replaced, by user:admin at 2026-01-31T00:00:00Z: mailbox({ID}).password"),
    ("event lost", "failed", f"password set or replaced, by user:admin at 2026-01-31T00:00:00Z, request r-1: mailbox({ID}).password"),
    ("events archived", "succeeded", f"the audit before 2026-01-31T00:00:00Z: 3 entries, file of SHA-256 {DIGEST}; {ANCHOR}"),
    ("events archived", "succeeded", f"security events 1 to 9: 9 entries, file of SHA-256 {DIGEST}; transactions 1:2:; {ANCHOR} (SHA-256 {DIGEST} before it)"),
    ("audit sealed", "succeeded", f"block 7 with 3 entries; {ANCHOR}"),
    ("audit sealed", "succeeded", f"blocks 6 to 7 with 30 entries; transactions 1:2:; {ANCHOR} (SHA-256 {DIGEST} before it)"),
    ("audit sealed", "succeeded", f"to be sealed anew, because audit block 4 is missing; {ANCHOR}"),
    ("audit entries doubted", "refused",
     f"5 up to block 7: {OTHER}: its time is in the future; {OTHER}: its transaction is no number; {OTHER}: its transaction had ended when the audit was sealed before; "
     f"{OTHER}: its time is before its transaction began; …"),
    ("audit not sealed", "failed", "the database refuses it"),
    ("audit not sealed", "failed", "5 entries of the audit could not be sealed"),
    ("client added", "succeeded", "import job, Email Administrator"),
    ("client added", "succeeded", f"import job, Email Administrator, RSA, SHA-256 {DIGEST}"),
    ("client disabled", "succeeded", "import job"),
    ("client disabled", "succeeded", f"{OTHER}, whose row was deleted by SQL"),
    ("client removed", "succeeded", "import job"),
    ("client changed", "succeeded", "import job: enabled"),
    ("client changed", "succeeded", "import job: another secret"),
    ("client changed", "succeeded", "import job: Basic User to System Administrator"),
    ("client key added", "succeeded", f"import job, RSA, SHA-256 {DIGEST}"),
    ("client key removed", "succeeded", f"import job, {OTHER}"),
    ("user added", "succeeded", "ada, Basic User"),
    ("user added", "succeeded", "ada, Basic User: existing user"),
    ("user disabled", "succeeded", "ada king"),
    ("user disabled", "succeeded", f"ada, {OTHER}, whose row was changed by SQL"),
    ("user disabled", "succeeded", f"{OTHER}, whose row was deleted by SQL"),
    ("user removed", "succeeded", "ada king"),
    ("user removed", "succeeded", f"ada, {OTHER}, whose row was changed by SQL"),
    ("user reset", "succeeded", "ada, by invitation"),
    ("user reset", "succeeded", "ada, their own"),
    ("user changed", "succeeded", "ada: sessions ended"),
    ("user changed", "succeeded", "ada: invited to choose a password"),
    ("user changed", "succeeded", "ada: 3 records handed over to bob"),
    ("signed in", "succeeded", "through Contoso Login"),
    ("signed out", "succeeded", "everywhere"),
    ("signed out", "succeeded", "its row was deleted or changed by SQL"),
    ("issuer trusted", "succeeded", "Contoso Login, https://login.contoso.example"),
    ("issuer not trusted any more", "succeeded", "Contoso Login"),
    ("identity linked", "succeeded", "00u1 of Contoso Login is ada"),
    ("key changed", "succeeded", "3 cells"),
    ("key changed", "succeeded", "3 cells, 1 to quarantine"),
    ("key changed", "failed", "the change of user:admin ended while copying, without reporting a result; its key is not in force"),
    ("key changed", "failed", "ERROR: deadlock detected in the database"),
    ("key change rehearsed", "succeeded", "3 cells"),
    ("key change rehearsed", "succeeded", "3 cells, 1 do not open"),
    ("key change rehearsed", "failed", "ERROR: the disk of the server is full"),
    ("key purged", "succeeded", "the row was deleted by SQL"),
    ("key message refused", "refused", "change: weak key"),
    ("key message refused", "refused", "read: privilegeDenied"),
    ("key-encryption key replaced", "succeeded", "0123456789abcdef by fedcba9876543210"),
    ("organization attached", "succeeded", "attested again: nothing differed"),
    ("organization attached", "succeeded", "attested again: the row of the client x was changed; the list is of another state"),
    ("organization attached", "succeeded", "attested again: nothing differed; rows that grant access by their tags alone: none"),
    ("organization exported", "succeeded", f"3 cells, SHA-256 {DIGEST}"),
    ("organization imported", "succeeded", f"3 cells, from contoso ({OTHER}), authentic"),
    ("organization cloned", "succeeded", f"3 cells, from contoso ({OTHER}), authenticity not checked"),
    ("organization moved to another database", "succeeded", "main to second"),
    ("organization renamed", "succeeded", "contoso to fabrikam"),
    ("organization upgraded from plaintext", "succeeded", "3 cells"),
    ("one-time passwords required", "succeeded", "System Administrator, Email Administrator"),
    ("one-time passwords required", "succeeded", "no role"),
    ("role given", "succeeded", f"systemuser {OTHER}, role Basic User, Email Administrator"),
    ("role taken away", "succeeded", f"team {OTHER}, role Basic User"),
    ("team member added", "succeeded", f"team {OTHER}, systemuser {OTHER}"),
    ("team member removed", "succeeded", f"team {OTHER}, systemuser {OTHER}, {OTHER}"),
    ("systemuser disabled", "succeeded", f"systemuser {OTHER}"),
    ("systemuser enabled", "succeeded", f"systemuser {OTHER}"),
    ("key control set", "succeeded", "approval within 900 s, any sign-in"),
    ("approval requested", "succeeded", f"{OTHER}: show the key of version 2, fingerprint 0123456789abcdef"),
    ("approval given", "succeeded", f"{OTHER}: change the key of version 2 to a generated one, asked by user:bob"),
    ("approval given", "refused", f"{OTHER}: the request is the caller's own"),
    ("approval refused", "succeeded", f"{OTHER}: change the key of version 2 to a generated one, asked by user:bob"),
    ("approval refused", "succeeded", f"{OTHER}: its row was changed or deleted by SQL"),
    ("approval used", "succeeded", f"{OTHER}: change the key of version 2 to a generated one, approved by user:bob"),
]

#: Details of alerts.
ALERT_DETAILS = [
    f"e-mail {OTHER}, attempt 3", f"e-mail {OTHER}", "2 e-mails", "UID 7, 30000000 bytes", "no unique id: number 1, 2", "no unique id: number 1, 2 and 3 more",
    "UID 7, Message-ID none, attempt 2, next at 2026-01-31 10:00 UTC: the server returns nothing for it",
    "UID 7, Message-ID <a@elsewhere.test>: it does not say who sent it",
    "UID 7, Message-ID none: the service refused it: [0x80040203] words that no version has",
    "UID 7, Message-ID none: it is addressed to no enabled user and no active queue, and the mailbox belongs to no user and no queue",
    "0x80040220", "Login denied: the server refuses the password",
]

_LAST = (
    "The connection broke while the mail server was taking the message, so it is unknown whether it was sent. Ask a recipient, or search the mail server's log for its "
    "Message-ID. Then send it again, or cancel it.")

#: Why a mailbox or an e-mail failed.
REPORTS = [
    "imap.test:993 refuses the user name or the password of the mailbox a@contoso.test. Set the password again.",
    "imap.test:993 refuses the user name or the password of sending. Set the password again. The mailbox is disabled until it is tested and enabled again.",
    "imap.test:993 lets no user sign in to the mailbox a@contoso.test at the moment. The router tries again.",
    "imap.test:993 can't be reached for the mailbox a@contoso.test, or does not answer. The router tries again.",
    "imap.test:993 reports a failure of sending: Failed in the middle of the transfer",
    "imap.test:993 gave an unexpected response for the mailbox a@contoso.test. The router tries again.",
    "imap.test:993 ended the connection for sending, and answered: 421 too many of you. The router tries again.",
    "imap.test:993 sent a line that is too long.",
    "The service was unavailable: status 503 of the service",
    "The mail server closed the connection while it was receiving a message.",
    "The profile names no server of its outgoing mail.",
    "550 5.1.1 the user of this address is unknown", "452 too many recipients", "554 the e-mail has no recipient",
    "The mail server took the message for 2 of 3 recipients, and then answered: 452 the disk is full. It was not sent to x@elsewhere.test.",
    _LAST, f"{_LAST} (the connection was reset by the server)", "words that no version of the router has",
]

#: Texts of alerts.
ALERT_TEXTS = REPORTS + [
    "An e-mail was not sent. 550 5.1.1 the user of this address is unknown",
    "An e-mail was not sent. Its mailbox is not its sender's.",
    "An e-mail could not be sent yet, and will be tried again. 451 try it later",
    f"{_LAST} E-mail: {OTHER}.",
    "A message of a@contoso.test (UID 7) was not fetched, because it is larger than 20 MiB. Look for it in the mailbox.",
    "A message of a@contoso.test did not become a record (UID 7, Message-ID none). It stays in the mailbox.",
    "Messages of a@contoso.test are records and could not be deleted, and stay in the inbox: UID 7. Let the account delete messages, or delete them yourself. "
    "The server says: NO the folder is locked",
    "The server gives messages of a@contoso.test no unique id (UIDL): number 1, 2 and 3 more. They are not fetched, and stay in the mailbox. Move them to another mailbox, "
    "or use IMAP.",
]

#: Why messages were set aside.
SET_ASIDE = [
    "the server returns nothing for it", "the connection ended while it was fetched: the server closed it", "NO [SERVERBUG] the message is not there",
    "a message of 30000000 bytes is larger than the router accepts", "the router is being stopped",
]
