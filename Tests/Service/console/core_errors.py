"""Collects the texts of errors from the source code, with {1}, {2} … in place of the values."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[3]

# Source files whose errors can't reach a page of the console: errors of commands, of routers, of moving an organization, and of requests that only
# the Web API has.
OTHERS = {
    "AttachmentRule.swift", "AuditSealer.swift", "ClientKey.swift", "ClientAdministration+Keys.swift", "DeepInsert.swift",
    "DumpReader.swift", "EmailDelivery.swift", "EventArchiveFile.swift", "EventArchivePosition.swift", "EvidenceArchiver.swift",
    "ExportFile.swift", "ExportManifest.swift", "HeldTables.swift", "KeyAdministration+Purge.swift", "KeyEncryptionKeyRotation+Databases.swift",
    "KeyEncryptionKeyRotation.swift", "MailboxLeases+MailWork.swift", "MailboxLeases+OutgoingEmail.swift",
    "MailboxLeases+SendingReports.swift", "MoveComparison.swift", "MoveCopy.swift", "MoveStream.swift", "OrganizationImport.swift",
    "OrganizationMove.swift", "OrganizationRegistry+Attestation.swift", "OrganizationRegistry+Renaming.swift",
    "OrganizationRegistry.swift", "OrganizationRemoval.swift", "ParsedValues+Refusals.swift", "PictureFormat.swift", "PlaintextLosses.swift", "PlaintextUpgrade.swift", "PlaintextUpgrade+Sealing.swift",
    "QueryBounds.swift", "QueryPlan.swift", "QueryScope+Filter.swift", "QueryScope.swift", "RecordKey+Distinct.swift", "RecordKey.swift",
    "SelectWriter.swift", "Session+Associations.swift", "Session+Caller.swift", "Session+Impersonation.swift",
    "Session+Privileges.swift", "Session+Sharing.swift", "Session+WhoAmI.swift", "StatementBuilder.swift",
    "TokenIssuer.swift", "IssuerAdministration.swift",
}
# Parts of messages in other files that only a request of the Web API or a command can cause.
NOT_ON_PAGES = (
    "@odata", "annotation", "navigation property", "$expand", "alternate key", "participationtypemasks", "statuscode and statecode", "directioncode of an e-mail",
    "partyid refers to a systemuser", "addressused of a sender", "leaves out a participationtypemask", "takes numbers of 1 to 4", "no longer leased", "since it was leased",
    "Only an Email Router may", "The export is of another", "can't be a key", "--fingerprint", "is compared with", "and this server knows", "The key names a record",
    "brings along more than", "is given twice, in ", "is encrypted, and", "The two records are not linked",
    "for addresses of its own", "migrate down config", "lacks the tables", "fieldseal org list shows", "A key has a value", "There is no {1} with {2}", "If-None-Match",
    "can't refer to a record here", "takes an array of", "participationtypemask of a party", "of a party does not name", "created with its e-mail gets objectid", "A new record takes its id as", "refers to a record: write")


def literal(source, at):
    """The content of the string literal that begins at this position, and the position after it. U+0000 stands for each interpolation."""
    text, at = "", at + 1
    while source[at] != '"':
        if source.startswith("\\(", at):
            depth, at = 1, at + 2
            while depth:
                if source[at] == '"':
                    _, at = literal(source, at)
                    continue
                depth += {"(": 1, ")": -1}.get(source[at], 0)
                at += 1
            text += "\0"
        elif source[at] == "\\":
            text, at = text + source[at + 1], at + 2
        else:
            text, at = text + source[at], at + 1
    return text, at + 1


def messages(source, before=r"FieldsealError\(\s*\.\w+,\s*|throw refuse\(\s*"):
    """The text of each string literal that follows the pattern, with its interpolations numbered."""
    for found in re.finditer(rf'(?:{before})(?=")', source):
        text, at = literal(source, found.end())
        while more := re.match(r"\s*\+\s*(?=\")", source[at:]):
            part, at = literal(source, at + more.end())
            text += part
        parts = text.split("\0")
        yield "".join(part + (f"{{{number}}}" if number < len(parts) else "") for number, part in enumerate(parts, 1))


def on_pages():
    """Every message that a page of the console may show, with its source file."""
    for path in sorted((ROOT / "Sources").glob("**/*.swift")):
        module = path.relative_to(ROOT / "Sources").parts[0]
        if module in ("WebAPI", "Program", "Migrations", "MailRouter") or path.name in OTHERS:
            continue
        for message in messages(path.read_text()):
            # Leaves out messages without words of their own, and messages that contain a text of NOT_ON_PAGES.
            if re.search(r"[a-z]{3}", re.sub(r"\{\d\}", "", message)) and not any(part in message for part in NOT_ON_PAGES):
                yield path.name, message


# Patterns of the code before a literal. The literal is a mailbox's problem, an alert, the failure of an e-mail, or a part of one of these.
REPORTS = (
    r"MailboxProblem\(\s*AlertCode\.\w+,\s*", r"\binit\(\s*AlertCode\.\w+,\s*", r"\btext:\s*", r"progress\.note\(\s*[^\"\n]*", r"\bwhat: ", r"\bstay\(\s*\w+, ",
    r"\bstay\(\s*[\w.]+, \"[^\"]*\",\s*", r"\.(?:refused|partly)\(\s*(?:isPermanent: \w+, )?", r"undeliverableFolder\.map \{ ", r"\?\? (?=\"It )", r"refusals\.isEmpty \? ",
    r"status == \.failed\s*\? ", r"\(reason\)\" : ", r"(?:let notSubmitted|deliveryUnknownMessage) =\s*")


def reports():
    """Every text that a router or the service may report about a mailbox or an e-mail, with its source file."""
    for module in ("MailRouter", "Email"):
        for path in sorted((ROOT / "Sources" / module).glob("**/*.swift")):
            # The router does not report that a server lacks IDLE.
            if path.name == "IMAPSession+Idle.swift":
                continue
            for before in REPORTS:
                for message in messages(path.read_text(), before):
                    if re.search(r"[a-z]{3}", re.sub(r"\{\d\}", "", message)):
                        yield path.name, message
    for problem in re.findall(r"THEN '((?:''|[^'])*)'", (ROOT / "Sources/Records/Emails/SenderRule.swift").read_text()):
        yield "SenderRule.swift", problem.replace("''", "'")
