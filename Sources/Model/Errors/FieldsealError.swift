/// A refusal: a stable code, the problem and the next step. It never quotes a secret.
package struct FieldsealError: Error, Sendable, CustomStringConvertible {
    package let code: ErrorCode
    package let message: String
    /// Seconds after which a retry may succeed, for the `Retry-After` header.
    package let retryAfter: Int?
    /// Further data for programs.
    package let detail: Detail?
    /// The attribute whose value is refused, by its logical name; nil if the error is about no single attribute.
    package private(set) var attribute: String?

    /// A further value for programs, which errors with some codes have.
    package enum Detail: Sendable {
        /// The id of the request that a second System Administrator has to approve.
        case approval(String)
        /// The allowed seconds since a sign-in.
        case maximumAge(Int)
    }

    package init(_ code: ErrorCode, _ message: String, retryAfter: Int? = nil, detail: Detail? = nil) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
        self.detail = detail
    }

    package var description: String { "\(message) [\(code.rawValue)]" }

    /// The same error, about this attribute. An error that already names an attribute keeps that one.
    package func about(_ attribute: String?) -> FieldsealError {
        var error = self
        error.attribute = self.attribute ?? attribute
        return error
    }
}

extension FieldsealError {
    package static func noSuchRecord(_ entity: EntityDefinition, _ id: String) -> FieldsealError {
        FieldsealError(.objectDoesNotExist, "There is no \(entity.logicalName) with the id \(id).")
    }

    /// There is no record at this address.
    package static func noSuchRecord(_ entity: EntityDefinition) -> FieldsealError {
        FieldsealError(.objectDoesNotExist, "There is no such \(entity.logicalName).")
    }

    /// The organization serves no requests until an operator resumes it.
    package static func suspended(_ name: String) -> FieldsealError {
        FieldsealError(
            .organizationDisabled, "The organization \(name) is suspended. An operator can resume it: fieldseal org resume \(name)."
        )
    }

    /// There is no organization with that name. The message is the same for an organization that never existed and for one in
    /// another database.
    package static func noSuchOrganization(_ name: String) -> FieldsealError {
        FieldsealError(.noResource, "There is no organization at this address.")
    }

    /// The database lacks an organization's schema, or something in it. For operators.
    package static func lostSchema(of name: String) -> FieldsealError {
        FieldsealError(
            .organizationDisabled,
            "The database lacks the schema of the organization \(name). Restore it from a backup, and then run fieldseal doctor.")
    }

    /// A statement found a table or a schema of the program missing.
    ///
    /// - Parameter message: PostgreSQL's own message, which names the table or schema.
    package static func lostTable(_ message: String) -> FieldsealError {
        FieldsealError(
            .organizationDisabled,
            "The database lacks what the program's migrations make: \(message). Restore it from a backup, and then run fieldseal doctor."
        )
    }

    /// A command names an organization that the database does not have.
    package static func unknownOrganization(_ name: String) -> FieldsealError {
        FieldsealError(
            .noResource, "There is no organization \(name.quotedForMessage). fieldseal org list shows the organizations.")
    }

    /// `config` has an organization's key, under a key-encryption key that this server does not have.
    ///
    /// - Parameters:
    ///   - id: The id of that key-encryption key.
    ///   - given: The id of this server's key-encryption key.
    package static func keyEncryptionKeyMissing(_ id: String, given: String) -> FieldsealError {
        FieldsealError(
            .keySourceMissing,
            "The organization's encryption key is wrapped under the key-encryption key \(id), and this server has \(given). "
                + "Put the missing key-encryption key back into the server's settings, or activate the organization with its key, "
                + "which wraps the key anew."
        )
    }

    /// `config` has no key for an organization, or a wrong one.
    package static let keyRequired = FieldsealError(
        .keyRequired,
        "This deployment does not have the organization's encryption key, so encrypted attributes can't be set. "
            + "A System Administrator activates it: SetDataEncryptionKey with ChangeEncryptionKey false, "
            + "or `fieldseal key activate`."
    )
}
