import Model
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports passwords that SQL removed without the triggers: a security event records that the password was set, it is gone,
    /// and the audit does not show who removed it.
    ///
    /// Entities whose audit is off are left out. Events from a time whose audit entries were archived are left out too.
    func lostPasswords(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        var lost: [String] = []
        for entity in EntityCatalog.withCells {
            for (attribute, flag) in entity.isSetColumns.sorted(by: { $0.key < $1.key }) {
                let rows = try connection.query(
                    Self.lostPasswordsStatement(entity, flag, organization),
                    [
                        .text(entity.logicalName), .text(attribute),
                        .texts(
                            [SecurityEvent.Kind.passwordSet, .passwordReplaced, .passwordCleared].map(\.rawValue)),
                        .text(SecurityEvent.Kind.passwordCleared.rawValue), .text(SecurityEvent.Kind.eventsArchived.rawValue),
                    ])
                lost += try rows.map { try $0.decode(0) }
            }
        }
        guard let example = lost.first else { return [] }
        let number = lost.count == 1 ? "a password" : "\(lost.count) passwords"
        return [
            Finding(
                .error, "passwords-lost", organization.name,
                "\(number) that security events of the last 30 days record as set \(lost.count == 1 ? "is" : "are") missing, such "
                    + "as \(example). The audit has no entry of the removal: SQL did it, without the triggers or while the audit "
                    + "was off",
                advice: "find out who did it; restore the records and their cells from a backup, or set the passwords again")
        ]
    }

    /// Compares the newest event of each password with its record, and with the audit's newest entry about the password.
    ///
    /// Parameters: the entity, the attribute, the kinds of events, the kind of event for clearing, and the kind for an archive.
    private static func lostPasswordsStatement(
        _ entity: EntityDefinition, _ flag: String, _ organization: Organization
    ) -> String {
        func table(_ name: String) -> String { organization.qualified(name) }
        return """
            WITH archived AS (
                SELECT max(substring(details from '^the audit before ([0-9TZ:.-]+): ')::timestamptz) + interval '1 hour' AS until
                  FROM \(table("security_event")) WHERE kind = $5 AND details LIKE 'the audit before %'
            ), newest AS (
                SELECT DISTINCT ON (e.details) e.details, e.kind, e.occurred_on,
                       substring(e.details from '\\(([0-9a-f-]{36})\\)')::uuid AS id
                  FROM \(table("security_event")) AS e
                 WHERE e.kind = ANY ($3) AND e.occurred_on > now() - interval '30 days'
                   AND e.details ~ ('^' || $1 || '\\([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\)\\.' || $2 || '$')
                 ORDER BY e.details, e.security_event_id DESC
            )
            SELECT n.details FROM newest AS n
              LEFT JOIN \(table(entity.logicalName)) AS r ON r.\(entity.idColumn) = n.id
              LEFT JOIN LATERAL (
                SELECT a.operation = 3 OR EXISTS (
                           SELECT FROM jsonb_array_elements(a.changedata::jsonb -> 'changedAttributes') AS c (entry)
                            WHERE c.entry ->> 'logicalName' = $2 AND c.entry ->> 'operation' = 'cleared') AS is_removal
                  FROM \(table("audit")) AS a
                 WHERE a.objectid = n.id AND a.objecttypecode = $1
                   AND (a.operation = 3 OR $2 = ANY (string_to_array(a.attributemask, ',')))
                 ORDER BY a.createdon DESC LIMIT 1) AS audited ON true
             WHERE n.kind <> $4 AND r.\(quoteIdentifier(flag)) IS NOT TRUE AND audited.is_removal IS NOT TRUE
               AND n.occurred_on > coalesce((SELECT until FROM archived), '-infinity')
               AND EXISTS (SELECT FROM \(table("audit_setting")) AS s WHERE s.entity = $1 AND s.attribute = '' AND s.is_enabled)
             ORDER BY n.details
            """
    }
}
