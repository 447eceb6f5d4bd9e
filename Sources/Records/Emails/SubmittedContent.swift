import CellCrypto
package import Foundation
import JSON
package import PostgresClient
package import Tenancy

/// The contents of an e-mail, as they are read for a router. The digest is made from the same values that the router gets.
package struct SubmittedContent: Sendable {
    /// A sender or recipient.
    package struct Party: Sendable {
        package let kind: Int?
        package let id: UUID?
        let type: String?
        package let name: String?
        package let address: String?
    }

    /// A file of the e-mail.
    package struct Attachment: Sendable {
        package let name: String?
        package let mediaType: String?
        package let body: String?
        package let contentID: String?
    }

    package var subject: String?
    package var body: String?
    package var mediaType: String?
    package var priority: Int
    package var wantsReceipt: Bool
    package var parties: [Party] = []
    package var attachments: [Attachment] = []

    /// Reads `subject`, `description`, `mimetype`, `priority` and `wants_receipt`.
    package init(_ row: PostgresRow) throws {
        subject = try row.decodeIfPresent("subject")
        body = try row.decodeIfPresent("description")
        mediaType = try row.decodeIfPresent("mimetype")
        priority = try row.decode("priority")
        wantsReceipt = try row.decode("wants_receipt")
    }

    /// Reads the parties and attachments of e-mails in one round trip.
    package static func parts(
        of emails: [UUID], in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> (parties: [UUID: [Party]], attachments: [UUID: [Attachment]]) {
        let answers = try connection.pipeline([
            (
                """
                SELECT activityid, participationtypemask, partyid, partyobjecttypecode, partyidname, addressused
                  FROM \(organization.qualified("activityparty")) WHERE activityid = ANY ($1) ORDER BY activitypartyid
                """, [.uuids(emails)]
            ),
            (
                """
                SELECT objectid, filename, mimetype, body, attachmentcontentinfo
                  FROM \(organization.qualified("activitymimeattachment")) WHERE objectid = ANY ($1)
                 ORDER BY attachmentnumber, activitymimeattachmentid
                """, [.uuids(emails)]
            ),
        ])
        var parties: [UUID: [Party]] = [:]
        for row in answers[0] {
            parties[try row.decode("activityid"), default: []].append(
                Party(
                    kind: try row.decodeIfPresent("participationtypemask"), id: try row.decodeIfPresent("partyid"),
                    type: try row.decodeIfPresent("partyobjecttypecode"), name: try row.decodeIfPresent("partyidname"),
                    address: try row.decodeIfPresent("addressused")))
        }
        var attachments: [UUID: [Attachment]] = [:]
        for row in answers[1] {
            attachments[try row.decode("objectid"), default: []].append(
                Attachment(
                    name: try row.decodeIfPresent("filename"), mediaType: try row.decodeIfPresent("mimetype"),
                    body: try row.decodeIfPresent("body"), contentID: try row.decodeIfPresent("attachmentcontentinfo")))
        }
        return (parties, attachments)
    }

    /// SHA-256 over the contents. This digest equals the one that ``Submission`` computes in SQL: over the text of a `jsonb` array.
    func digest() throws -> [UInt8] {
        let people = parties.map {
            Self.array([
                Self.text($0.kind.map { "\($0)" }), Self.string($0.id?.text), Self.string($0.type), Self.string($0.name),
                Self.string($0.address),
            ])
        }
        let files = try attachments.map { file in
            // An attachment without a Content-ID has three members, so that digests from before Content-IDs stay valid.
            Self.array(
                [Self.string(file.name), Self.string(file.mediaType), Self.string(try Self.hash(file.body))]
                    + (file.contentID.map { [Self.string($0)] } ?? []))
        }
        let content = Self.array([
            Self.string(subject), Self.string(try Self.hash(body)), Self.string(mediaType), Self.text("\(priority)"),
            Self.text("\(wantsReceipt)"), people.isEmpty ? Self.text(nil) : Self.array(people),
            files.isEmpty ? Self.text(nil) : Self.array(files),
        ])
        return try sha256(content)
    }

    // MARK: The text of jsonb

    private static func hash(_ text: String?) throws -> String { hexadecimal(try sha256(Array((text ?? "").utf8))) }

    private static func text(_ text: String?) -> [UInt8] { Array((text ?? "null").utf8) }

    private static func array(_ members: [[UInt8]]) -> [UInt8] {
        Array("[".utf8) + Array(members.joined(separator: Array(", ".utf8))) + Array("]".utf8)
    }

    private static func string(_ value: String?) -> [UInt8] {
        guard let value else { return text(nil) }
        var bytes = Array("\"".utf8)
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 8: bytes += Array("\\b".utf8)
            case 9: bytes += Array("\\t".utf8)
            case 10: bytes += Array("\\n".utf8)
            case 12: bytes += Array("\\f".utf8)
            case 13: bytes += Array("\\r".utf8)
            case ..<32: bytes += Array("\\u00\(hexadecimal([byte]))".utf8)
            default: bytes.append(byte)
            }
        }
        return bytes + Array("\"".utf8)
    }
}
