package import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

/// The parties and attachments of an e-mail, which are written with it.
package struct EmailParts: Sendable {
    /// A file that comes with an e-mail.
    package struct Attachment: Sendable {
        /// The name that a file gets if the client gives none.
        package static let defaultName = "attachment"

        /// The values of the file's attributes, apart from those that come from the e-mail.
        fileprivate let values: [String: AttributeValue]

        fileprivate init(_ parsed: ParsedValues) {
            values = parsed.values
        }
    }

    var parties: [Party] = []
    /// Whether the write names parties, including an empty list.
    var namesParties = false
    /// The kinds of parties that the write replaces.
    var replaced = Participation.allCases.map { Int64($0.rawValue) }
    package var attachments: [Attachment] = []

    package init() {
    }

    static let partiesProperty = "email_activity_parties"
    /// The member that lists the kinds of parties that a write replaces, as an array of participationtypemask. The write keeps
    /// parties of other kinds.
    static let replacedProperty = "\(partiesProperty)@fieldseal.participationtypemasks"
    static let attachmentsProperty = "email_activity_mime_attachment"
    /// The largest number of parties, and of attachments, of an e-mail.
    package static let limit = 10_000

    /// Removes parties and attachments from the members of an e-mail, and parses them.
    ///
    /// - Throws: ``FieldsealError`` saying what a party or an attachment accepts.
    static func split(_ members: [JSONValue.Member]) throws(FieldsealError) -> (email: [JSONValue.Member], parts: EmailParts) {
        var parts = EmailParts()
        var namesKinds = false
        var email: [JSONValue.Member] = []
        for member in members {
            switch member.name.lowercased() {
            case partiesProperty:
                parts.namesParties = true
                for value in try list(member) { parts.parties.append(try Party(value)) }
            case replacedProperty:
                parts.replaced = try masks(member)
                namesKinds = true
            case attachmentsProperty:
                for value in try list(member) { parts.attachments.append(try attachment(value)) }
            default: email.append(member)
            }
        }
        guard parts.namesParties || !namesKinds else {
            throw FieldsealError(
                .payloadDoesNotFit, "\(replacedProperty) says which of \(partiesProperty) are replaced, and the request has none.")
        }
        let replaced = parts.replaced
        guard parts.parties.allSatisfy({ replaced.contains(Int64($0.participation)) }) else {
            throw FieldsealError(
                .payloadDoesNotFit, "\(replacedProperty) leaves out a participationtypemask of \(partiesProperty).")
        }
        guard parts.parties.filter({ $0.participation == Participation.sender.rawValue }).count <= 1 else {
            throw FieldsealError(.payloadDoesNotFit, "An e-mail has one sender at most (participationtypemask 1).")
        }
        return (email, parts)
    }

    static func isParticipation(_ mask: Int64) -> Bool { Participation(rawValue: Int(truncatingIfNeeded: mask)) != nil }

    private static func masks(_ member: JSONValue.Member) throws(FieldsealError) -> [Int64] {
        var masks: [Int64] = []
        for value in try list(member) {
            guard case .integer(let mask) = value, isParticipation(mask) else {
                throw FieldsealError(.payloadDoesNotFit, "\(replacedProperty) takes numbers of 1 to 4.")
            }
            masks.append(mask)
        }
        return masks
    }

    private static func list(_ member: JSONValue.Member) throws(FieldsealError) -> [JSONValue] {
        guard case .array(let values) = member.value, values.count <= limit else {
            throw FieldsealError(.payloadDoesNotFit, "\(member.name) takes an array of at most \(limit).")
        }
        return values
    }

    private static func attachment(_ value: JSONValue) throws(FieldsealError) -> Attachment {
        guard case .object(let members) = value else {
            throw FieldsealError(.payloadDoesNotFit, "\(attachmentsProperty) takes an array of new attachments, as objects.")
        }
        return Attachment(try ParsedValues(.activityMimeAttachment, members, for: .part))
    }

    /// Whether an e-mail whose parties can't be changed has exactly these parties already.
    func areKept(in email: UUID, of organization: Organization, on connection: isolated PostgresConnection) throws -> Bool {
        let stored = try connection.query(
            """
            SELECT p.participationtypemask, p.partyid, p.partyobjecttypecode, p.partyidname, p.addressused,
                   e.directioncode AND e.statuscode IN \(EmailStatus.editable.sql) AS is_editable
              FROM \(organization.qualified("email")) AS e LEFT JOIN \(organization.qualified("activityparty")) AS p
                ON p.activityid = e.activityid AND p.participationtypemask::int8 = ANY ($2)
             WHERE e.activityid = $1 ORDER BY p.activitypartyid
            """, [.uuid(email), .int64s(replaced)])
        guard let first = stored.first, try first.decodeIfPresent("is_editable", as: Bool.self) != true else { return false }
        let hasNone = try first.decodeIfPresent("participationtypemask", as: Int.self) == nil
        let rows = hasNone ? [] : Array(stored)
        for mask in replaced {
            let given = parties.filter { Int64($0.participation) == mask }
            let own = try rows.filter { try Int64($0.decode("participationtypemask", as: Int.self)) == mask }
            guard given.count == own.count else { return false }
            for (party, row) in zip(given, own) where try !party.isStored(row) { return false }
        }
        return true
    }

    /// Locks an e-mail whose parties can be replaced.
    ///
    /// - Throws: ``FieldsealError`` `.readOnly` for an e-mail that was received, is to be sent, or was sent.
    static func requireOpen(_ email: UUID, of organization: Organization, on connection: isolated PostgresConnection) throws {
        let isOpen = try connection.query(
            """
            SELECT FROM \(organization.qualified("email"))
             WHERE activityid = $1 AND directioncode AND statuscode IN \(EmailStatus.editable.sql) FOR UPDATE
            """, [.uuid(email)])
        guard !isOpen.isEmpty else {
            throw FieldsealError(
                .readOnly, "The sender and the recipients can be changed only in an outgoing e-mail that is a draft or failed.")
        }
    }

    /// Replaces the parties of an e-mail that is not submitted.
    func replace(in email: UUID, of organization: Organization, by writer: Caller, on connection: isolated PostgresConnection)
        throws
    {
        _ = try connection.query(
            """
            DELETE FROM \(organization.qualified("activityparty"))
             WHERE activityid = $1 AND participationtypemask::int8 = ANY ($2)
            """, [.uuid(email), .int64s(replaced)])
        _ = try connection.pipeline(statements(of: email, in: organization, by: writer))
    }

    /// A query for the first To recipients of the e-mail $1, as many as fit into torecipients. The addresses are separated by `;`,
    /// which a quoted address may contain too.
    private static func shownRecipients(in organization: Organization) -> String {
        """
        SELECT string_agg(addressused, ';' ORDER BY activitypartyid) AS addresses
          FROM (SELECT addressused, activitypartyid, sum(length(addressused) + 1) OVER (ORDER BY activitypartyid) - 1 AS width
                  FROM \(organization.qualified("activityparty"))
                 WHERE activityid = $1 AND participationtypemask = \(Participation.to.sql)) AS p
         WHERE width <= 500
        """
    }

    /// The statements that write the parties and attachments. These statements run after the statement that writes the e-mail.
    ///
    /// - Parameter writer: The caller. The e-mail shows the sender's mailbox only if the caller may send as the sender.
    package func statements(of email: UUID, in organization: Organization, by writer: Caller) -> [(
        sql: String, parameters: [PostgresParameter]
    )] {
        var statements: [(sql: String, parameters: [PostgresParameter])] = []
        func table(_ name: String) -> String { organization.qualified(name) }
        // The parties' ids ascend in the order in which the request lists the parties.
        for (id, party) in zip(UUID.timeOrdered(count: parties.count), parties) {
            let (user, queue) = (party.id(of: .systemUser), party.id(of: .queue))
            statements.append(
                (
                    """
                    INSERT INTO \(table("activityparty")) (activitypartyid, activityid, participationtypemask, ispartydeleted, donotemail,
                        partyid, partyobjecttypecode, partyidname, addressused)
                    SELECT $1, $2, $3, false, false, coalesce($4, $5), CASE WHEN $4 IS NOT NULL THEN 'systemuser' WHEN $5 IS NOT NULL THEN 'queue' END,
                           coalesce((SELECT fullname FROM \(table("systemuser")) WHERE systemuserid = $4),
                                    (SELECT name FROM \(table("queue")) WHERE queueid = $5), nullif($7, ''), $6),
                           coalesce($6, (SELECT internalemailaddress FROM \(table("systemuser")) WHERE systemuserid = $4),
                                    (SELECT emailaddress FROM \(table("queue")) WHERE queueid = $5))
                    """,
                    [
                        .uuid(id), .uuid(email), .int32(Int32(party.participation)), .uuid(user), .uuid(queue),
                        .text(party.address), .text(party.name),
                    ]
                ))
        }
        for (number, attachment) in attachments.enumerated() {
            statements.append(attachment.statement(number: number + 1, of: email, in: organization))
        }
        if namesParties {
            statements.append(
                (
                    """
                    UPDATE \(table("email")) AS e SET emailsender = s.partyid, emailsenderobjecttypecode = s.partyobjecttypecode,
                           emailsendername = s.partyidname, sender = s.addressused, torecipients = t.addresses,
                           sendermailboxid = m.mailboxid, sendermailboxidname = left(m.name, 100)
                      FROM (SELECT 1) AS one
                      LEFT JOIN \(table("activityparty")) AS s ON s.activityid = $1 AND s.participationtypemask = \(Participation.sender.sql)
                      \(SenderRule.records(in: organization, type: "s.partyobjecttypecode"))
                      LEFT JOIN \(table("mailbox")) AS m ON m.regardingobjectid = s.partyid AND m.statecode = \(RecordState.active.sql)
                            AND ($2 OR \(SenderRule.allows("$3", in: organization)))
                      LEFT JOIN (\(Self.shownRecipients(in: organization))) AS t ON true
                     WHERE e.activityid = $1
                    """, [.uuid(email), .bool(writer.role == .systemAdministrator), .uuid(writer.systemUserID)]
                ))
        }
        return statements
    }
}

extension EmailParts.Attachment {
    /// The INSERT of the attachment. `number` is its position among the attachments of the e-mail.
    fileprivate func statement(number: Int, of email: UUID, in organization: Organization) -> (
        sql: String, parameters: [PostgresParameter]
    ) {
        let entity = EntityDefinition.activityMimeAttachment
        var values: [String: AttributeValue] = [
            entity.primaryID: .id(.timeOrdered()), "objecttypecode": .text(EntityDefinition.email.logicalName),
            "attachmentnumber": .int(Int64(number)), "isfollowed": .bool(false),
        ]
        values.merge(self.values) { $1 == .null ? $0 : $1 }
        values["objectid"] = .id(email)
        let given = entity.attributes.filter { values[$0.logicalName] != nil }
        let places = given.indices.map { "$\($0 + 1)" }.joined(separator: ", ")
        return (
            "INSERT INTO \(organization.qualified(entity.logicalName)) (\(given.map(\.column).joined(separator: ", "))) VALUES (\(places))",
            given.map { $0.type.parameter(values[$0.logicalName] ?? .null) }
        )
    }
}
