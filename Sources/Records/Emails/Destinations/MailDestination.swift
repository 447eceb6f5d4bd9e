package import CellCrypto
package import Foundation
import JSON
package import Model
package import PostgresClient
package import Tenancy

/// The settings of a record that decide to which servers its credentials are sent, and for which account.
///
/// The service stores a tag of the key-encryption key over these settings, in the table `mail_destination`. The service releases a
/// credential only if the settings match their tag. So SQL alone can't send a password to another server or use it for another
/// account. The account matters because an application's secret, or a master user's password, opens the mailbox of every user name.
package struct MailDestination: Sendable, Equatable {
    /// A record with settings that decide where its credentials are sent.
    package struct Place: Hashable, Sendable {
        /// The logical name of one of ``MailDestination/entities``.
        package let entity: String
        package let id: UUID

        package init(entity: String, id: UUID) {
            self.entity = entity
            self.id = id
        }
    }

    package let place: Place
    /// The values as text, in the order of ``attributes(of:)``; nil for NULL.
    package let values: [String?]

    /// The attributes that decide where credentials are sent, for each entity that has some.
    package static func attributes(of entity: String) -> [String] {
        switch entity {
        case "emailserverprofile": profileAttributes
        case "mailbox": mailboxAttributes
        case "queue", "usersettings": ["emailusername"]
        default: []
        }
    }

    /// The entities that have settings which decide where credentials are sent.
    package static let entities: [EntityDefinition] = [.emailServerProfile, .mailbox, .queue, .userSettings]

    /// The attributes that only name the account of a credential of the same record.
    static let accountAttributes: Set<String> = ["incomingusername", "outgoingusername", "username", "emailusername"]

    private static let profileAttributes = [
        "servertype", "defaultserverlocation", "useautodiscover", "exchangeonlinetenantid", "usedefaulttenantid",
        "incomingserverlocation", "incomingportnumber", "incomingusessl", "incomingauthenticationprotocol",
        "incomingcredentialretrieval", "incominguseimpersonation",
        "outgoingserverlocation", "outgoingportnumber", "outgoingusessl", "outgoingauthenticationprotocol",
        "outgoingcredentialretrieval", "outgoinguseimpersonation", "outgoingautograntdelegateaccess",
        "usesamesettingsforoutgoingconnections", "incomingusername", "outgoingusername",
    ]
    private static let mailboxAttributes = [
        "emailserverprofile", "regardingobjectid", "regardingobjecttypecode", "ewsurl", "username",
    ]

    /// Whether the settings name no server, no account and no holder of the mailbox. True for a mailbox with no profile, user name,
    /// queue or user, and for a queue or a user with no user name.
    package var isEmpty: Bool { !namesPlace && value("regardingobjectid") == nil }

    /// Whether the settings name a server or an account.
    var namesPlace: Bool { isProfile || ["emailserverprofile", "username", "emailusername"].contains { value($0) != nil } }

    /// The attributes in which the settings differ from `other`, earlier settings of the same record.
    func changes(since other: MailDestination) -> Set<String> {
        Set(zip(Self.attributes(of: place.entity), zip(values, other.values)).filter { $0.1.0 != $0.1.1 }.map(\.0))
    }

    /// The value of one of the attributes.
    package func value(_ attribute: String) -> String? {
        Self.attributes(of: place.entity).firstIndex(of: attribute).flatMap { values[$0] }
    }

    /// The attributes that have a value. A write that confirms these settings has to name all of them. The type of a reference is
    /// left out, because the reference includes its type.
    package var present: [String] {
        zip(Self.attributes(of: place.entity), values).filter { $0.1 != nil && $0.0 != "regardingobjecttypecode" }.map(\.0)
    }

    private func fields(in organization: Organization, withAccounts: Bool = true) -> [[UInt8]] {
        var fields = [organization.id.bytes, Array(place.entity.utf8), place.id.bytes]
        for (attribute, value) in zip(Self.attributes(of: place.entity), values)
        where withAccounts || !Self.accountAttributes.contains(attribute) {
            fields.append(Array(attribute.utf8))
            fields.append(value.map { [1] + Array($0.utf8) } ?? [0])
        }
        return fields
    }

    private static let label = "mail_destination"

    /// The tag that the service writes for these settings.
    package func tag(in organization: Organization, under kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: Self.label, over: fields(in: organization))
    }

    /// Whether the service wrote this tag for these settings.
    package func fits(_ tag: [UInt8], in organization: Organization, under kek: KeyEncryptionKey) throws -> Bool {
        try kek.accepts(tag, label: Self.label, over: fields(in: organization))
    }

    /// Whether the service wrote this older tag for these settings. An older tag does not cover user names.
    func fitsWithoutAccounts(_ tag: [UInt8], in organization: Organization, under kek: KeyEncryptionKey) throws -> Bool {
        try kek.accepts(tag, label: Self.label, over: fields(in: organization, withAccounts: false))
    }

    /// Whether the service authorized these settings, and has authorized no later settings of the record.
    ///
    /// - Parameter grants: The attested list. The list has the newest tag of each profile that was changed or deleted. So an older
    ///   state that SQL restores with its tag is not authorized.
    package func isAuthorized(
        by tag: [UInt8]?, _ grants: GrantList, in organization: Organization, under kek: KeyEncryptionKey
    ) throws -> Bool {
        guard let tag, try fits(tag, in: organization, under: kek) else { return false }
        guard isProfile else { return true }
        let grant = Grant.mailServer(place.id, tag: tag)
        return try !grants.names(grant.name) || grants.holds(grant, under: kek)
    }

    /// Whether these settings belong to a server profile, which names the servers.
    package var isProfile: Bool { place.entity == EntityDefinition.emailServerProfile.logicalName }

    /// The columns for reading the settings: texts, in the order of ``attributes(of:)``.
    package static func columns(of entity: String, _ table: String) -> String {
        attributes(of: entity).map { "\(table).\(quoteIdentifier($0))::text" }.joined(separator: ", ")
    }

    /// Reads the settings of a row from the columns that ``columns(of:_:)`` selected.
    package init(_ place: Place, _ row: PostgresRow, from column: Int) throws {
        self.place = place
        values = try Self.attributes(of: place.entity).indices.map { try row.decodeIfPresent(column + $0) }
    }

    /// The settings of a queue or a user, which name an account.
    package init(_ place: Place, account: String) {
        self.place = place
        values = [account]
    }

    init(_ place: Place, _ values: [String?]) {
        self.place = place
        self.values = values
    }

    /// The settings of a mailbox after its server profile was removed.
    var withoutProfile: MailDestination {
        MailDestination(place, zip(Self.attributes(of: place.entity), values).map { $0 == "emailserverprofile" ? nil : $1 })
    }

    /// Reads a record's settings and whether they are authorized (``isAuthorized(by:_:in:under:)``); nil if there is no such
    /// record.
    ///
    /// - Parameter locks: Whether the row stays locked until the transaction ends.
    static func read(
        _ place: Place,
        _ grants: GrantList,
        in organization: Organization,
        under kek: KeyEncryptionKey,
        locks: Bool,
        on connection: isolated PostgresConnection
    ) throws -> (destination: MailDestination, isAuthorized: Bool)? {
        guard let entity = EntityCatalog.entity(place.entity) else { return nil }
        let rows = try connection.query(
            """
            SELECT d.tag, \(columns(of: place.entity, "r")) FROM \(organization.qualified(place.entity)) AS r
              LEFT JOIN \(organization.qualified("mail_destination")) AS d ON d.entity = $2 AND d.record_id = r.\(entity.idColumn)
             WHERE r.\(entity.idColumn) = $1 \(locks ? "FOR UPDATE OF r" : "")
            """, [.uuid(place.id), .text(place.entity)])
        guard let row = rows.first else { return nil }
        let destination = try MailDestination(place, row, from: 1)
        let tag = try row.decodeIfPresent("tag", as: PostgresBytes.self)?.bytes
        return (destination, try destination.isAuthorized(by: tag, grants, in: organization, under: kek))
    }

    /// Stores the tag of these settings, or deletes it if they are empty.
    func authorize(
        in organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws {
        let table = organization.qualified("mail_destination")
        guard !isEmpty else {
            _ = try connection.query(
                "DELETE FROM \(table) WHERE entity = $1 AND record_id = $2", [.text(place.entity), .uuid(place.id)])
            return
        }
        _ = try connection.query(
            """
            INSERT INTO \(table) (entity, record_id, kek_id, tag) VALUES ($1, $2, $3, $4)
            ON CONFLICT (entity, record_id) DO UPDATE SET kek_id = excluded.kek_id, tag = excluded.tag, authorized_on = now()
            """, [.text(place.entity), .uuid(place.id), .text(kek.id), .bytes(try tag(in: organization, under: kek))])
    }

    /// Reads the next batch of an entity's settings that are not empty, with their tags, in the order of the records' ids.
    package static func part(
        of entity: EntityDefinition, after last: UUID?, in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> [(destination: MailDestination, tag: [UInt8]?)] {
        let named: String? =
            switch entity.logicalName {
            case "emailserverprofile": nil
            case "mailbox": "(r.emailserverprofile IS NOT NULL OR r.username IS NOT NULL OR r.regardingobjectid IS NOT NULL)"
            default: "r.emailusername IS NOT NULL"
            }
        return try connection.query(
            """
            SELECT r.\(entity.idColumn), d.tag, \(columns(of: entity.logicalName, "r"))
              FROM \(organization.qualified(entity.logicalName)) AS r
              LEFT JOIN \(organization.qualified("mail_destination")) AS d
                ON d.entity = $1 AND d.record_id = r.\(entity.idColumn)
             WHERE ($2::uuid IS NULL OR r.\(entity.idColumn) > $2) \(named.map { "AND \($0)" } ?? "")
             ORDER BY r.\(entity.idColumn) LIMIT \(batch)
            """, [.text(entity.logicalName), .uuid(last)]
        ).map { row in
            let place = Place(entity: entity.logicalName, id: try row.decode(0))
            let tag = try row.decodeIfPresent("tag", as: PostgresBytes.self)?.bytes
            return (try MailDestination(place, row, from: 2), tag)
        }
    }

    /// Reads the settings that are not empty, with their tags.
    package static func all(
        _ entities: [EntityDefinition] = entities, in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> [(destination: MailDestination, tag: [UInt8]?)] {
        try entities.flatMap { entity in
            var records: [(destination: MailDestination, tag: [UInt8]?)] = []
            while true {
                let part = try part(of: entity, after: records.last?.destination.place.id, in: organization, on: connection)
                guard !part.isEmpty else { return records }
                records += part
            }
        }
    }

    /// Authorizes all present settings. Call this only when an administrator registers an organization on the command line, or
    /// applies the migration that introduced the tags.
    package static func authorizeAll(
        _ entities: [EntityDefinition] = entities, in organization: Organization, under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        _ = try connection.query("DELETE FROM \(organization.qualified("mail_destination"))")
        try insert(all(entities, in: organization, on: connection).map(\.destination), in: organization, under: kek, on: connection)
    }

    /// Authorizes settings that have no tag.
    static func insert(
        _ destinations: [MailDestination], in organization: Organization, under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        let table = organization.qualified("mail_destination")
        for start in stride(from: 0, to: destinations.count, by: batch) {
            let part = destinations[start..<min(start + batch, destinations.count)]
            let tags = try part.map { try $0.tag(in: organization, under: kek) }
            _ = try connection.query(
                """
                INSERT INTO \(table) (entity, record_id, kek_id, tag)
                SELECT t.entity, t.id, $4, decode(t.tag, 'hex') FROM unnest($1, $2, $3) AS t (entity, id, tag)
                """,
                [
                    .texts(part.map(\.place.entity)), .uuids(part.map(\.place.id)),
                    .texts(tags.map { hexadecimal($0) }), .text(kek.id),
                ])
        }
    }

    private static let batch = 1_000

    /// The ids of all profiles that ever had a tag.
    package static func profiles(in organization: Organization, on connection: isolated PostgresConnection) throws -> [UUID] {
        try connection.query(
            "SELECT record_id FROM \(organization.qualified("mail_destination")) WHERE entity = $1",
            [.text(EntityDefinition.emailServerProfile.logicalName)]
        ).map { try $0.decode(0) }
    }
}
