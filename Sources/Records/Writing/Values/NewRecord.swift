import CellCrypto
package import Foundation
import JSON
package import Model
package import PostgresClient
package import Tenancy

/// A new record with all values of its INSERT: the client's, and those that the server fills in.
package struct NewRecord: Sendable {
    let entity: EntityDefinition
    let id: UUID
    private(set) var values: [String: AttributeValue]
    private var isSetColumns: Set<String> = []
    /// The sources of filled-in values that the INSERT shares between records, such as the time.
    private var sources: [String: RecordInsert.Source] = [:]
    private let now = Date()
    private let origin: Origin

    /// The caller and its business unit, for the values that the server fills in.
    package struct Origin: Sendable {
        package let organization: Organization
        /// The caller's systemuser; nil for the command line.
        package let user: UUID?
        package let businessUnit: UUID
        /// The user that sent the request, if it was sent in the name of another user.
        package var delegate: UUID?

        package init(organization: Organization, user: UUID?, businessUnit: UUID, delegate: UUID? = nil) {
            self.organization = organization
            self.user = user
            self.businessUnit = businessUnit
            self.delegate = delegate
        }
    }

    package init(
        _ entity: EntityDefinition, id: UUID, _ values: [String: AttributeValue], secrets: [String: String?] = [:], origin: Origin
    ) {
        self.entity = entity
        self.id = id
        self.values = values
        self.values[entity.primaryID] = .id(id)
        self.origin = origin
        takeOriginalDate()
        for (name, serverDefault) in entity.serverDefaults where self.values[name] == nil {
            // Dates that clients may write have no fractions of a second. So a client that writes back a record as it read it
            // changes nothing.
            let isWritten = entity[name]?.validFor.contains(.update) ?? false
            sources[name] = if case .now = serverDefault { isWritten ? .own : .now } else { .shared }
            self.values[name] =
                switch serverDefault {
                case .value(let value): value
                case .now: .date(isWritten ? Date(timeIntervalSince1970: now.timeIntervalSince1970.rounded(.down)) : now)
                case .user: origin.user.map(AttributeValue.id) ?? .null
                case .businessUnit: .id(origin.businessUnit)
                case .organization: .id(origin.organization.id)
                }
        }
        for (attribute, value) in secrets where value != nil {
            guard let flag = entity.isSetColumns[attribute] else { continue }
            if entity[flag] == nil { isSetColumns.insert(flag) } else { fill(flag, .bool(true)) }
        }
        if let delegate = origin.delegate {
            for name in ["createdonbehalfby", "modifiedonbehalfby"] where entity[name] != nil { fill(name, .id(delegate)) }
        }
        fillOwner(origin)
    }

    /// A migrated record keeps its original creation date. The record's `overriddencreatedon` gets the date on which this service
    /// creates it.
    private mutating func takeOriginalDate() {
        guard case .date(let original)? = values["overriddencreatedon"] else { return }
        values["createdon"] = .date(original)
        values["overriddencreatedon"] = .date(now)
        sources["overriddencreatedon"] = .now
    }

    private mutating func fillOwner(_ origin: Origin) {
        guard entity["ownerid"] != nil, case .id(let owner) = values["ownerid"] else { return }
        let isTeam = values["owneridtype"] == .text("team")
        fill("owneridtype", .text(isTeam ? "team" : "systemuser"))
        fill(isTeam ? "owningteam" : "owninguser", .id(owner))
        fill("owningbusinessunit", .id(origin.businessUnit))
    }

    /// Fills in a value that does not depend on the record.
    private mutating func fill(_ name: String, _ value: AttributeValue) {
        values[name] = value
        sources[name] = .shared
    }

    /// The INSERT of the record. The statement returns the version number and the id.
    func insert(in organization: Organization) -> RowInsert {
        var insert = RecordInsert(
            schema: organization.schema, entity: entity.logicalName, isTeams: values["owneridtype"] == .text("team"),
            flags: isSetColumns.sorted())
        var own = [PostgresParameter.timestamp(now)]
        var shared: [PostgresParameter] = []
        for (index, attribute) in entity.attributes.enumerated() where !attribute.isEncrypted {
            guard let value = values[attribute.logicalName], value != .null else { continue }
            let source = sources[attribute.logicalName] ?? .own
            insert.add(index, source)
            switch source {
            case .own: own.append(attribute.type.parameter(value))
            case .shared: shared.append(attribute.type.parameter(value))
            case .now: break
            }
        }
        return RowInsert(insert.text(for: entity, in: organization), own: own, shared: shared)
    }

    /// Inserts the record and, for a new user, its settings.
    ///
    /// - Parameter caller: The caller that the audit names.
    package func insert(into organization: Organization, by caller: Caller, on connection: isolated PostgresConnection) throws {
        _ = try connection.pipeline([caller.auditSettings])
        let (sql, parameters) = insert(in: organization).statement
        _ = try connection.query(sql, parameters)
        if entity.logicalName == EntityDefinition.systemUser.logicalName {
            try userSettings(in: organization).insert(into: organization, by: caller, on: connection)
        }
    }

    /// The initial settings of a user.
    func userSettings(in organization: Organization) -> NewRecord {
        let unit: UUID = if case .id(let unit) = values["businessunitid"] { unit } else { id }
        return NewRecord(.userSettings, id: id, [:], origin: sameCaller(in: organization, unit))
    }

    /// The origin of a record that is made together with this one: the same caller, and the given business unit.
    private func sameCaller(in organization: Organization, _ unit: UUID) -> Origin {
        Origin(organization: organization, user: origin.user, businessUnit: unit, delegate: origin.delegate)
    }

    /// The statements for the initial mailbox of a user or a queue with an e-mail address. These statements write the mailbox's
    /// row, the tag that binds it to the user or queue, and a queue's reference to it.
    func mailbox(
        in organization: Organization, under kek: KeyEncryptionKey
    ) throws -> [(sql: String, parameters: [PostgresParameter])]? {
        let (address, name, owner): (AttributeValue?, AttributeValue?, AttributeValue?) =
            switch entity.logicalName {
            case "systemuser": (values["internalemailaddress"], values["fullname"], .id(id))
            case "queue": (values["emailaddress"], values["name"], values["ownerid"])
            default: (nil, nil, nil)
            }
        guard case .text(let address)? = address, EmailAddressRule.isOne(address), case .id(let owner)? = owner else { return nil }
        let unit: UUID = if case .id(let unit) = values["businessunitid"] ?? values["owningbusinessunit"] { unit } else { id }
        let mailbox = UUID.timeOrdered()
        var mailboxValues: [String: AttributeValue] = [
            "name": name ?? .text(address), "emailaddress": .text(address), "regardingobjectid": .id(id),
            "regardingobjecttypecode": .text(entity.logicalName), "ownerid": .id(owner),
            "isforwardmailbox": .bool(false),
        ]
        if let type = values["owneridtype"] { mailboxValues["owneridtype"] = type }
        var statements = [
            NewRecord(.mailbox, id: mailbox, mailboxValues, origin: sameCaller(in: organization, unit)).insert(in: organization)
                .statement,
            try MailDestination.belonging(mailbox, to: id, of: entity).insertion(in: organization, under: kek),
        ]
        if entity.logicalName == "queue" {
            statements.append(
                (
                    "UPDATE \(organization.qualified("queue")) SET defaultmailbox = $2, defaultmailboxname = left($3, 100) WHERE queueid = $1",
                    [.uuid(id), .uuid(mailbox), .text(address)]
                ))
        }
        return statements
    }

    /// A systemuser in the organization's first business unit.
    ///
    /// - Parameter application: The API client that acts as the user; nil for a person.
    package static func systemUser(
        id: UUID,
        name: String,
        domainName: String,
        application: UUID? = nil,
        in organization: Organization,
        by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws -> NewRecord {
        let unit = try connection.query(
            "SELECT businessunitid FROM \(organization.qualified("businessunit")) ORDER BY createdon, businessunitid LIMIT 1")
        var values: [String: AttributeValue] = ["fullname": .text(name), "domainname": .text(domainName)]
        if let application { values["applicationid"] = .id(application) }
        return NewRecord(
            .systemUser, id: id, values,
            origin: Origin(
                organization: organization, user: caller.systemUserID, businessUnit: try unit[0].decode(0),
                delegate: caller.impersonation?.systemUserID))
    }
}

extension AttributeType {
    func placeholder(_ number: Int) -> String { isNumeric ? "$\(number)::numeric" : "$\(number)" }
}
