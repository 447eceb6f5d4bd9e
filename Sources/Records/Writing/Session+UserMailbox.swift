package import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

extension Session {
    /// Makes a mailbox that belongs to a user, and sets the user's e-mail address to the mailbox's. A user who is created with an
    /// address gets such a mailbox too.
    ///
    /// - Throws: ``FieldsealError`` for a caller who may not create mailboxes or change the user, for a text that is not an
    ///   address, and for a user who has a mailbox.
    package func makeMailbox(ofUser user: UUID, address: String) async throws {
        _ = try caller.require(.create, on: .mailbox)
        guard EmailAddressRule.isOne(address) else {
            throw FieldsealError(.invalidArgument, "The mailbox's address is not an e-mail address.")
        }
        try await requireNoMailbox(ofUser: user)
        try await write(.upsert(.systemUser, .id(user), [.init("internalemailaddress", .string(address))], .mustExist))
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try confirm(on: connection)
                // The lock on the user lets only one of several such requests make a mailbox.
                let rows = try connection.query(
                    "SELECT fullname, businessunitid FROM \(organization.qualified("systemuser")) WHERE systemuserid = $1 FOR UPDATE",
                    [.uuid(user)])
                guard let row = rows.first, try !hasMailbox(user, on: connection) else { throw FieldsealError.hasMailbox }
                let (name, unit): (String?, UUID?) = (try row.decodeIfPresent(0), try row.decodeIfPresent(1))
                let origin = NewRecord.Origin(
                    organization: organization, user: caller.systemUserID, businessUnit: unit ?? callersUnit ?? organization.id,
                    delegate: caller.impersonation?.systemUserID)
                var values: [String: AttributeValue] = ["internalemailaddress": .text(address)]
                if let name { values["fullname"] = .text(name) }
                if let unit { values["businessunitid"] = .id(unit) }
                let statements =
                    try NewRecord(.systemUser, id: user, values, origin: origin)
                    .mailbox(in: organization, under: kek) ?? []
                _ = try connection.pipeline([caller.auditSettings] + statements)
            }
        }
    }

    private func requireNoMailbox(ofUser user: UUID) async throws {
        let hasOne = try await deployment.pool.withConnection { try hasMailbox(user, on: $0) }
        guard !hasOne else { throw FieldsealError.hasMailbox }
    }

    private func hasMailbox(_ user: UUID, on connection: isolated PostgresConnection) throws -> Bool {
        try connection.query(
            """
            SELECT EXISTS (SELECT FROM \(organization.qualified("mailbox"))
                            WHERE regardingobjectid = $1 AND regardingobjecttypecode = 'systemuser')
            """, [.uuid(user)])[0].decode(0)
    }
}

extension FieldsealError {
    fileprivate static let hasMailbox = FieldsealError(.duplicateRecord, "The user has a mailbox already.")
}
