import Foundation
import JSON
import Model

/// The stamp that identifies a version of the metadata. Clients keep it, and send it as `ClientVersionStamp`.
enum MetadataStamp {
    /// The stamp of the metadata in this version of the service. It is the same on every server of this version.
    static let current = String(MetadataJSON.id("metadata", MetadataDocument.xml).prefix(18).filter { $0 != "-" })

    /// Whether a client has the current metadata.
    ///
    /// - Throws: ``FieldsealError`` `.expiredVersionStamp` for the stamp of another version, because it is unknown what was deleted
    ///   since.
    static func isCurrent(_ stamp: JSONValue?) throws(FieldsealError) -> Bool {
        guard let stamp, stamp != .null else { return false }
        guard stamp.string == current else {
            throw FieldsealError(
                .expiredVersionStamp,
                "ClientVersionStamp is of another version of this service. Leave it out, and replace all metadata that is kept.")
        }
        return true
    }
}
