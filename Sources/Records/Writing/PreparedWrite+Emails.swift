import Foundation
import Model
import PostgresClient
import Tenancy

// How an e-mail's status limits changes of the e-mail and of its files.
extension PreparedWrite {
    var isEmail: Bool { entity.logicalName == EntityDefinition.email.logicalName }

    /// Throws the reason why an e-mail that the caller may write was not written: its status or direction does not allow it.
    func refuseStatus(
        _ id: UUID,
        _ rule: EmailWriteRule,
        _ condition: WriteCondition,
        _ depth: PrivilegeDepth,
        _ right: AccessRights,
        on connection: isolated PostgresConnection
    ) throws {
        var conditions = ["activityid = $1", "NOT coalesce(\(rule.condition), false)"]
        var parameters: [PostgresParameter] = [.uuid(id)]
        restrict(condition, depth, right, &conditions, &parameters)
        let found = try connection.query(
            "SELECT statuscode FROM \(organization.qualified("email")) WHERE \(conditions.joined(separator: " AND "))", parameters)
        guard let row = found.first else { return }
        throw rule.refusal(try row.decodeIfPresent(0, as: Int.self).flatMap { EmailStatus(rawValue: Int64($0)) })
    }

    /// Marks the values that the caller may not write to an e-mail, so that they are only compared with the stored values. Returns
    /// the error to throw for each of these attributes if its value differs from the stored value.
    static func withhold(_ input: inout ParsedValues, from caller: Caller) -> [String: FieldsealError] {
        guard input.entity === EntityDefinition.email else { return [:] }
        let withheld = EmailWriteRule.withheld(input, from: caller)
        input.keep(withheld.keys)
        return withheld
    }

    /// The outcome of an update that the e-mail's status does not allow, if the e-mail already has all values of the update. So a
    /// client can write back what it read. Nil if the update would change a value.
    func unchanged(
        _ input: ParsedValues, _ id: UUID, _ rule: EmailWriteRule, _ condition: WriteCondition, _ depth: PrivilegeDepth,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome? {
        var conditions = ["activityid = $1", "NOT coalesce(\(rule.condition), false)"]
        var parameters: [PostgresParameter] = [.uuid(id)]
        for attribute in entity.attributes where attribute.logicalName != entity.primaryID {
            guard let value = input.values[attribute.logicalName] else { continue }
            parameters.append(attribute.type.parameter(value))
            conditions.append(attribute.equals("$\(parameters.count)"))
        }
        restrict(condition, depth, .write, &conditions, &parameters)
        let found = try connection.query(
            "SELECT versionnumber FROM \(organization.qualified("email")) WHERE \(conditions.joined(separator: " AND "))",
            parameters)
        return try found.first.map { WriteOutcome(id: id, versionNumber: Int64(try $0.decode(0, as: Int.self)), isCreated: false) }
    }

    /// The SQL condition that is true if the e-mail of an attachment is submitted.
    var isOfSubmitted: String {
        """
        EXISTS (SELECT FROM \(organization.qualified("email")) AS sent
        WHERE sent.activityid = \(organization.qualified(entity.logicalName)).objectid AND sent.statuscode IN \(EmailStatus.outbound.sql))
        """
    }

    /// Throws the reason why a file that the caller may write was not written: its e-mail is submitted.
    func refuseFile(
        _ id: UUID, _ condition: WriteCondition, _ depth: PrivilegeDepth, _ right: AccessRights,
        on connection: isolated PostgresConnection
    ) throws {
        var conditions = ["activitymimeattachmentid = $1"]
        var parameters: [PostgresParameter] = [.uuid(id)]
        restrict(condition, depth, right, isOfAnyStatus: true, &conditions, &parameters)
        let files = organization.qualified(entity.logicalName)
        let found = try connection.query(
            """
            SELECT e.statuscode FROM \(organization.qualified("email")) AS e
             WHERE e.statuscode IN \(EmailStatus.outbound.sql)
               AND e.activityid IN (SELECT \(files).objectid FROM \(files) WHERE \(conditions.joined(separator: " AND ")))
            """, parameters)
        guard let row = found.first else { return }
        throw EmailWriteRule.ofFiles.refusal(EmailStatus(rawValue: Int64(try row.decode(0, as: Int.self))))
    }
}
