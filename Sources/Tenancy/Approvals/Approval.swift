package import Foundation
import JSON
package import PostgresClient

/// A System Administrator's request for one operation, which a second System Administrator has to approve. An approved request
/// allows the operation once.
package struct Approval: Sendable {
    /// The kind of the requested operation.
    package enum Operation: String, Sendable, CaseIterable {
        case showKey = "show the key"
        case setKey = "set the key"
        case giveAccess = "give access"
        case setKeyControl = "set key control"
    }

    package let id: UUID
    let organizationID: UUID
    package let operation: String
    /// A description of the operation for the approver.
    package let subject: String
    /// A tag over the operation and all of its arguments, under the key-encryption key.
    let digest: [UInt8]
    package let requester: String
    /// The systemuser that made the request; nil for the command line.
    let requesterID: UUID?
    /// The address from which the request came.
    package let address: String?
    let created: PostgresMoment
    let expires: PostgresMoment
    /// The approver; nil while the request is open.
    package internal(set) var approver: String?
    var approverID: UUID?

    package var createdOn: Date { created.date }
    /// The time until which the request can be approved and used.
    package var expiresOn: Date { expires.date }

    static func name(_ id: UUID) -> Grant.Name { Grant.Name(.approval, [id.bytes]) }

    package var grant: Grant {
        func field(_ text: String?) -> [UInt8] { Grant.field(text.map { Array($0.utf8) }) }
        return Grant(
            Self.name(id),
            [
                organizationID.bytes, Grant.field(operation), Grant.field(subject), digest, Grant.field(requester),
                Grant.field(requesterID?.bytes), field(address), Grant.field(created), Grant.field(expires), field(approver),
                Grant.field(approverID?.bytes),
            ])
    }

    private static let columns = """
        approval_id, organization_id, operation, subject, digest, requester, requester_id, address, created_on, expires_on, \
        approver, approver_id, tag
        """

    /// Every row of an organization's requests, the oldest first. The rows are not verified.
    package static func all(of organization: Organization, on connection: isolated PostgresConnection) throws -> [(
        row: Approval, tag: [UInt8]
    )] {
        try connection.query(
            "SELECT \(columns) FROM config.approval WHERE organization_id = $1 ORDER BY created_on, approval_id",
            [.uuid(organization.id)]
        ).map { row in
            func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
            let approval = Approval(
                id: try row.decode(0), organizationID: try row.decode(1), operation: try row.decode(2), subject: try row.decode(3),
                digest: try bytes(4), requester: try row.decode(5), requesterID: try row.decodeIfPresent(6),
                address: try row.decodeIfPresent(7), created: try row.decode(8), expires: try row.decode(9),
                approver: try row.decodeIfPresent(10), approverID: try row.decodeIfPresent(11))
            return (approval, try bytes(12))
        }
    }

    /// Inserts a new request.
    func insert(_ change: inout AttestedChange, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            INSERT INTO config.approval (approval_id, organization_id, operation, subject, digest, requester, requester_id, address,
                created_on, expires_on, tag) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            """,
            [
                .uuid(id), .uuid(organizationID), .text(operation), .text(subject), .bytes(digest), .text(requester),
                .uuid(requesterID), .text(address), .moment(created), .moment(expires), .bytes(try change.grant(grant)),
            ])
    }

    /// Deletes an expired request.
    fileprivate func removeExpired(_ change: inout AttestedChange, on connection: isolated PostgresConnection) throws {
        _ = try connection.query("DELETE FROM config.approval WHERE approval_id = $1", [.uuid(id)])
        try change.removeExpired(Self.name(id))
    }

    /// Deletes a request that was used or refused. If SQL restores its row later, the row approves nothing.
    func end(_ change: inout AttestedChange, on connection: isolated PostgresConnection) throws {
        try Self.end(id, &change, on: connection)
    }

    /// Deletes the request with this id, and removes it from the attested list, also if SQL deleted or changed its row.
    static func end(_ id: UUID, _ change: inout AttestedChange, on connection: isolated PostgresConnection) throws {
        _ = try connection.query("DELETE FROM config.approval WHERE approval_id = $1", [.uuid(id)])
        try change.remove(name(id))
    }
}

extension AttestedChange {
    /// Returns the open and approved requests that this service wrote, and deletes expired requests.
    mutating func approvals(on connection: isolated PostgresConnection) throws -> [Approval] {
        var valid: [Approval] = []
        for (approval, tag) in try Approval.all(of: organization, on: connection) {
            guard try grants.authenticates(approval.grant, tag: tag, under: kek) else { continue }
            if approval.expires > now { valid.append(approval) } else { try approval.removeExpired(&self, on: connection) }
        }
        return valid
    }
}
