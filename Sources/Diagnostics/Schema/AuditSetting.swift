import PostgresClient
import Tenancy

/// A row of `audit_setting`: whether changes of an entity, or of one attribute, are audited.
struct AuditSetting: Sendable, Hashable {
    let entity: String
    /// Empty for the entity as a whole.
    let attribute: String
    let isEnabled: Bool

    static func all(of organization: Organization, on connection: isolated PostgresConnection) throws -> Set<AuditSetting> {
        let rows = try connection.query(
            "SELECT entity, attribute, is_enabled FROM \(organization.qualified("audit_setting"))")
        return try Set(
            rows.map { AuditSetting(entity: try $0.decode(0), attribute: try $0.decode(1), isEnabled: try $0.decode(2)) })
    }
}

extension Doctor {
    /// Reports entities and attributes that the migrations audit and the organization does not.
    func auditSettings(
        of organization: Organization, _ reference: SchemaReference, on connection: isolated PostgresConnection
    ) throws -> [Finding] {
        let found = try AuditSetting.all(of: organization, on: connection)
        let unaudited = reference.auditSettings.filter { $0.attribute.isEmpty && $0.isEnabled && !found.contains($0) }
        let leftOut = found.filter { !$0.attribute.isEmpty && !$0.isEnabled && !reference.auditSettings.contains($0) }
        let names = unaudited.map(\.entity) + leftOut.map { "\($0.entity).\($0.attribute)" }
        guard !names.isEmpty else { return [] }
        return [
            Finding(
                .warning, "not-audited", organization.name,
                "the audit does not record changes of: \(names.sorted().joined(separator: ", "))",
                advice: "set is_enabled in audit_setting as the migrations set it, unless the change was on purpose")
        ]
    }
}
