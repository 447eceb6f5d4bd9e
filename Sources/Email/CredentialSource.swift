import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
import Records
import RouterProtocol
import Tenancy

/// A mailbox, its profile and its cells, read by one statement.
struct CredentialSource {
    /// The error for settings that the service did not write: they do not match their tag, or the attested state does not list
    /// them.
    struct NotAuthorized: Error {
        let error: FieldsealError
    }

    /// The key version of the cells.
    let keyVersion: Int
    private let direction: MailDirection
    private let mailbox: MailDestination
    private let profile: MailDestination
    private let mailboxTag: [UInt8]?
    private let profileTag: [UInt8]?
    /// The queue or the user of the mailbox, with the tag.
    private let holder: (destination: MailDestination, tag: [UInt8]?)?
    /// The values of the columns in `facts`, as text, by the name there.
    private let values: [String: String]
    private let cells: [String: [UInt8]]

    /// Attributes that do not decide where credentials are sent: the name of each attribute in the statement, and its column.
    private static let facts: [(name: String, column: String)] = [
        ("incomingusername", "p.incomingusername"), ("outgoingusername", "p.outgoingusername"),
        ("allows", "m.allowemailconnectortousecredentials"), ("username", "m.username"),
        ("queue.username", "q.emailusername"), ("queue.allows", "q.allowemailcredentials"), ("queue.id", "q.queueid"),
        ("user.username", "u.emailusername"), ("user.allows", "u.allowemailcredentials"), ("user.id", "u.systemuserid"),
        ("emailserverprofile.incomingpassword", "p.isincomingpasswordset"),
        ("emailserverprofile.outgoingpassword", "p.isoutgoingpasswordset"), ("mailbox.password", "m.ispasswordset"),
        ("queue.emailpassword", "q.isemailpasswordset"), ("usersettings.emailpassword", "u.isemailpasswordset"),
    ]
    private static let sealed: [(name: String, column: String)] = [
        ("emailserverprofile.incomingpassword", "pc.incomingpassword"),
        ("emailserverprofile.outgoingpassword", "pc.outgoingpassword"), ("mailbox.password", "mc.password"),
        ("queue.emailpassword", "qc.emailpassword"), ("usersettings.emailpassword", "uc.emailpassword"),
    ]

    /// The index of the first column of the two destinations. The destinations are read by index, because their columns have the
    /// same names.
    private static let destinations = 5

    /// - Returns: Nil when there is no such mailbox, or it has no profile.
    static func read(
        _ mailbox: UUID, _ direction: MailDirection, in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> CredentialSource? {
        let rows = try connection.query(statement(in: organization), [.uuid(mailbox)])
        return try rows.first.map { try CredentialSource(mailbox, direction, $0) }
    }

    /// The statement that reads the settings which decide about a mailbox's credential, and its sealed passwords.
    private static func statement(in organization: Organization) -> String {
        func table(_ name: String) -> String { organization.qualified(name) }
        func cells(_ entity: EntityDefinition, _ alias: String, _ id: String) -> String {
            "LEFT JOIN \(table(entity.cellTable)) AS \(alias) ON \(alias).\(entity.idColumn) = \(id) AND \(alias).key_version = e.key_version"
        }
        return """
            SELECT e.key_version, p.emailserverprofileid AS profile_id, dm.tag AS mailbox_tag, dp.tag AS profile_tag, dh.tag AS holder_tag,
                   \(MailDestination.columns(of: "mailbox", "m")), \(MailDestination.columns(of: "emailserverprofile", "p")),
                   \(facts.map { "\($0.column)::text AS \"value of \($0.name)\"" }.joined(separator: ", ")),
                   \(sealed.map { "\($0.column) AS \"cell of \($0.name)\"" }.joined(separator: ", "))
              FROM \(table("mailbox")) AS m
              JOIN \(table("emailserverprofile")) AS p ON p.emailserverprofileid = m.emailserverprofile
              CROSS JOIN \(table("encryption")) AS e
              LEFT JOIN \(table("mail_destination")) AS dm ON dm.entity = 'mailbox' AND dm.record_id = m.mailboxid
              LEFT JOIN \(table("mail_destination")) AS dp ON dp.entity = 'emailserverprofile' AND dp.record_id = p.emailserverprofileid
              LEFT JOIN \(table("mail_destination")) AS dh
                ON dh.entity = CASE m.regardingobjecttypecode WHEN 'queue' THEN 'queue' WHEN 'systemuser' THEN 'usersettings' END
               AND dh.record_id = m.regardingobjectid
              LEFT JOIN \(table("queue")) AS q ON m.regardingobjecttypecode = 'queue' AND q.queueid = m.regardingobjectid
              LEFT JOIN \(table("usersettings")) AS u ON m.regardingobjecttypecode = 'systemuser' AND u.systemuserid = m.regardingobjectid
              \(cells(.emailServerProfile, "pc", "p.emailserverprofileid"))
              \(cells(.mailbox, "mc", "m.mailboxid"))
              \(cells(.queue, "qc", "q.queueid"))
              \(cells(.userSettings, "uc", "u.systemuserid"))
             WHERE m.mailboxid = $1
            """
    }

    private init(_ id: UUID, _ direction: MailDirection, _ row: PostgresRow) throws {
        self.direction = direction
        keyVersion = try row.decode("key_version")
        func bytes(_ column: String) throws -> [UInt8]? { try row.decodeIfPresent(column, as: PostgresBytes.self)?.bytes }
        (mailboxTag, profileTag) = (try bytes("mailbox_tag"), try bytes("profile_tag"))
        mailbox = try MailDestination(.init(entity: "mailbox", id: id), row, from: Self.destinations)
        let behind = Self.destinations + mailbox.values.count
        profile = try MailDestination(.init(entity: "emailserverprofile", id: row.decode("profile_id")), row, from: behind)
        var values: [String: String] = [:]
        for fact in Self.facts { values[fact.name] = try row.decodeIfPresent("value of \(fact.name)") }
        self.values = values
        let holderTag = try bytes("holder_tag")
        holder = Self.holder(values).map { ($0, holderTag) }
        var cells: [String: [UInt8]] = [:]
        for cell in Self.sealed { cells[cell.name] = try bytes("cell of \(cell.name)") }
        self.cells = cells
    }

    /// The queue or the user of the mailbox, if it names an account.
    private static func holder(_ values: [String: String]) -> MailDestination? {
        for (entity, name) in [(EntityDefinition.queue, "queue"), (.userSettings, "user")] {
            guard let id = values["\(name).id"].flatMap(UUID.init(text:)), let account = values["\(name).username"] else {
                continue
            }
            return MailDestination(.init(entity: entity.logicalName, id: id), account: account)
        }
        return nil
    }

    /// Checks that the service wrote the settings that decide where credentials are sent.
    ///
    /// - Throws: ``NotAuthorized`` naming the record whose settings were changed by SQL.
    func requireAuthorized(_ grants: GrantList, in organization: Organization, under kek: KeyEncryptionKey) throws {
        for (destination, tag) in [(profile, profileTag), (mailbox, mailboxTag)] + (holder.map { [$0] } ?? []) {
            guard try destination.isAuthorized(by: tag, grants, in: organization, under: kek) else {
                throw NotAuthorized(
                    error: FieldsealError(
                        .privilegeDenied,
                        "The settings of the \(destination.place.entity) \(destination.place.id.text) that say where credentials go were "
                            + "changed by SQL, and not by the service, so no credential is released. A System Administrator checks "
                            + "them and saves them "
                            + "all: \(destination.present.joined(separator: ", "))."))
            }
        }
    }

    // MARK: The settings in effect

    private func number(_ attribute: String) -> Int? { profile.value(attribute).flatMap { Int($0) } }

    private func isTrue(_ name: String) -> Bool { values[name] == "true" }

    private var side: String { direction == .outgoing ? "outgoing" : "incoming" }

    /// The direction whose credentials in the profile are used.
    private var credentialSide: String {
        profile.value("usesamesettingsforoutgoingconnections") == "true" ? "incoming" : side
    }

    /// Opens the credential.
    ///
    /// - Throws: ``FieldsealError`` naming what is missing; `.sslRequired`; `.unexpected` for a server name with invalid
    ///   characters.
    func released(with key: DataKey, allowsPlaintext: Bool, in organization: Organization) throws -> ReleasedCredential {
        let usesTLS = profile.value("\(side)usessl") != "false"
        guard usesTLS || allowsPlaintext else {
            throw FieldsealError(
                .sslRequired,
                "The profile asks for a connection without TLS, and this deployment does not allow that (mail.allowsPlaintext).")
        }
        guard let server = MailServers(profile.value).server(of: side), !server.isEmpty else {
            throw FieldsealError(
                .profileNotAssociated, "The profile names no server of its \(direction.rawValue.lowercased()) mail.")
        }
        // This error is temporary for the router, so that a typing error in a profile does not disable its mailboxes.
        guard server.allSatisfy(\.isHostCharacter) else {
            throw FieldsealError(
                .unexpected,
                "The profile's server of its \(direction.rawValue.lowercased()) mail is not the name or the address of a host. Correct it; "
                    + "until then the router tries again.")
        }
        let isPOP3 = (number("servertype") ?? MailServerType.pop3.rawValue) == MailServerType.pop3.rawValue
        let place = try place()
        let userName = place.flatMap { values[$0.userName] }
        let password = try place.flatMap { try open($0, with: key, in: organization) }
        guard place == nil || userName?.isEmpty == false && password != nil else {
            throw FieldsealError(
                .profileNotAssociated,
                "There is no user name, or no password, to sign in with (\(place?.entity.logicalName ?? "")).")
        }
        return ReleasedCredential(
            credential: Credential(
                userName: userName, password: password, server: server,
                port: number("\(side)portnumber") ?? (direction == .outgoing ? 587 : isPOP3 ? 995 : 993), usesTLS: usesTLS,
                authentication: number("\(credentialSide)authenticationprotocol") ?? AuthenticationProtocol.autoDetect.rawValue,
                serverType: (isPOP3 ? MailServerType.pop3 : .imap).rawValue),
            source: place.map {
                .init(organization: organization.id, entity: $0.entity.logicalName, record: $0.record, attribute: $0.attribute)
            },
            tenant: profile.value("exchangeonlinetenantid"))
    }

    /// The place of the credential's cell, and the name under which ``values`` has the user name.
    private struct Place {
        let entity: EntityDefinition
        let record: UUID
        let attribute: String
        let userName: String
    }

    /// The place that the retrieval setting names; nil to sign in without credentials.
    private func place() throws -> Place? {
        switch number("\(credentialSide)credentialretrieval") ?? 0 {
        case 0 where isTrue("allows"):
            return Place(entity: .mailbox, record: mailbox.place.id, attribute: "password", userName: "username")
        case 0:
            if isTrue("queue.allows"), let id = values["queue.id"].flatMap(UUID.init(text:)) {
                return Place(entity: .queue, record: id, attribute: "emailpassword", userName: "queue.username")
            }
            if isTrue("user.allows"), let id = values["user.id"].flatMap(UUID.init(text:)) {
                return Place(entity: .userSettings, record: id, attribute: "emailpassword", userName: "user.username")
            }
            throw FieldsealError(
                .profileNotAssociated,
                "The profile takes credentials by user or queue, and neither the mailbox nor its user or queue allows their use.")
        case 1:
            return Place(
                entity: .emailServerProfile, record: profile.place.id, attribute: "\(credentialSide)password",
                userName: "\(credentialSide)username")
        case 4: return nil
        default:
            throw FieldsealError(
                .notImplemented,
                "The profile's \(credentialSide)credentialretrieval is not supported. Set 0 (credentials of the mailbox, its user or its queue), "
                    + "1 (those of the profile) or 4 (none).")
        }
    }

    /// - Returns: Nil when no password is set.
    private func open(_ place: Place, with key: DataKey, in organization: Organization) throws -> SecretBytes? {
        let name = place.entity.cellName(place.attribute)
        guard isTrue(name) else { return nil }
        guard let cell = cells[name] else {
            throw FieldsealError(
                .unexpected,
                "The \(place.entity.logicalName) \(place.record.text) says that its \(place.attribute) is set, but no password is "
                    + "stored for it. fieldseal verify lists the missing passwords."
            )
        }
        return try key.open(cell, at: CellAddress(organization: organization.id, record: place.record, attribute: name))
    }
}

extension Character {
    /// Whether the character may occur in a host's name or address.
    fileprivate var isHostCharacter: Bool { isASCII && (isLetter || isNumber || ".-_:".contains(self)) }
}
