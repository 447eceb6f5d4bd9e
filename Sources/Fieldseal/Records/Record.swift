public import Foundation

/// A record as a caller may see it. Encrypted attributes are null, always: nothing was read for them.
public struct Record: Sendable {
    public let entity: EntityDefinition
    public let id: UUID
    /// Changes with every write of the record, its encrypted attributes included; not with a key change.
    public let versionNumber: Int64
    /// The attributes that were asked for, in order, and their values.
    public let values: [(attribute: AttributeDefinition, value: AttributeValue)]

    /// The weak entity tag of the version (RFC 9110 section 8.8.3).
    public var etag: String { "W/\"\(versionNumber)\"" }
}

/// What a write of a record did.
public struct WriteOutcome: Sendable {
    public let id: UUID
    public let versionNumber: Int64
    /// Whether the record is new.
    public let isCreated: Bool
}

/// On what condition a record may be written (RFC 9110 section 13.1).
public enum WriteCondition: Sendable, Equatable {
    /// Create or update.
    case none
    /// `If-Match: *`: update only.
    case mustExist
    /// `If-None-Match: *`: create only.
    case mustNotExist
    /// `If-Match: W/"…"`: update this version only.
    case version(Int64)
}
