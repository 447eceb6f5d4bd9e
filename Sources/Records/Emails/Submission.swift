package import CellCrypto
import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

/// A submitted e-mail: its submitter, sender, recipients and contents.
///
/// `SendEmail` stores a tag of the key-encryption key over the submission. A router gets an e-mail only if the tag is valid. So SQL
/// alone can't send an e-mail, and can't change a submitted e-mail.
package struct Submission {
    let email: UUID
    let submitter: UUID?
    let isAdministrator: Bool
    /// SHA-256 over the parties and the content.
    let digest: [UInt8]

    /// The columns that ``init(_:at:)`` reads, of an e-mail with the alias `e`.
    ///
    /// - Parameter hasContentIDs: Whether attachments have Content-IDs. A schema before the migration `content_ids` has none.
    package static func columns(in organization: Organization, hasContentIDs: Bool = true) -> String {
        "e.activityid, e.submitter, e.submitter_is_administrator, \(digest(in: organization, hasContentIDs))"
    }

    package static let columnCount = 4

    /// The SQL expression for the digest over the parties and the content of an e-mail. It hashes attachments and bodies
    /// separately, because they may be too large for JSON. ``SubmittedContent`` computes the same digest in Swift.
    private static func digest(in organization: Organization, _ hasContentIDs: Bool) -> String {
        func hash(_ text: String) -> String {
            "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(coalesce(\(text), ''), 'UTF8')), 'hex')"
        }
        let file = "a.filename, a.mimetype, \(hash("a.body"))"
        let files =
            hasContentIDs
            ? """
            CASE WHEN a.attachmentcontentinfo IS NULL THEN pg_catalog.jsonb_build_array(\(file))
                ELSE pg_catalog.jsonb_build_array(\(file), a.attachmentcontentinfo) END
            """ : "pg_catalog.jsonb_build_array(\(file))"
        return """
            pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.jsonb_build_array(
                e.subject, \(hash("e.description")), e.mimetype, coalesce(e.prioritycode, 1), coalesce(e.readreceiptrequested, false),
                (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(p.participationtypemask, p.partyid, p.partyobjecttypecode, p.partyidname,
                        p.addressused) ORDER BY p.activitypartyid)
                   FROM \(organization.qualified("activityparty")) AS p WHERE p.activityid = e.activityid),
                (SELECT pg_catalog.jsonb_agg(\(files) ORDER BY a.attachmentnumber, a.activitymimeattachmentid)
                   FROM \(organization.qualified("activitymimeattachment")) AS a WHERE a.objectid = e.activityid))::text, 'UTF8'))
            """
    }

    /// Reads what ``columns(in:)`` selects.
    package init(_ row: PostgresRow, at first: Int) throws {
        email = try row.decode(first)
        submitter = try row.decodeIfPresent(first + 1)
        isAdministrator = try row.decode(first + 2)
        digest = try row.decode(first + 3, as: PostgresBytes.self).bytes
    }

    /// The submission of an e-mail with contents that were read for a router.
    ///
    /// - Parameter row: Has `activityid`, `submitter` and `submitter_is_administrator`.
    package init(_ row: PostgresRow, _ content: SubmittedContent) throws {
        email = try row.decode("activityid")
        submitter = try row.decodeIfPresent("submitter")
        isAdministrator = try row.decode("submitter_is_administrator")
        digest = try content.digest()
    }

    func tag(in organization: Organization, under kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: Self.label, over: fields(in: organization))
    }

    private static let label = "email_submission"

    private func fields(in organization: Organization) -> [[UInt8]] {
        [organization.id.bytes, email.bytes, submitter?.bytes ?? [], [isAdministrator ? 1 : 0], digest]
    }

    /// Whether the tag proves that the service submitted the e-mail with its present parties and content.
    package func isAuthentic(by tag: [UInt8], in organization: Organization, under kek: KeyEncryptionKey) throws -> Bool {
        try kek.accepts(tag, label: Self.label, over: fields(in: organization))
    }

    /// Stores the tag.
    package func store(in organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection)
        throws
    {
        _ = try connection.query(
            "UPDATE \(organization.qualified("email")) SET submission_tag = $2 WHERE activityid = $1",
            [.uuid(email), .bytes(try tag(in: organization, under: kek))])
    }

    /// Tags the e-mails that wait to be sent, once, for the migration that introduced the tags.
    package static func tagAll(
        in organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws {
        let hasContentIDs: Bool = try connection.query(
            """
            SELECT EXISTS (SELECT FROM pg_attribute
                            WHERE attrelid = $1::text::regclass AND attname = 'attachmentcontentinfo' AND NOT attisdropped)
            """, [.text(organization.qualified("activitymimeattachment"))])[0].decode(0)
        let rows = try connection.query(
            """
            SELECT \(columns(in: organization, hasContentIDs: hasContentIDs)) FROM \(organization.qualified("email")) AS e
             WHERE e.statuscode IN \(EmailStatus.outbound.sql)
            """)
        for row in rows { try Submission(row, at: 0).store(in: organization, under: kek, on: connection) }
    }
}
