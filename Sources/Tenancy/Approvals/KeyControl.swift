package import CellCrypto
import JSON
package import PostgresClient

/// An organization's rules for showing or setting its key, in addition to the required role.
package struct KeyControl: Sendable, Equatable {
    /// Seconds within which a second System Administrator must approve a request, and the caller must repeat the operation. Nil if
    /// no approval is needed.
    package var approvalSeconds: Int?
    /// For how many seconds after its sign-in a client may use the API's key messages. Nil if only the access token's lifetime
    /// limits the use.
    package var signInSeconds: Int?
    /// False if SQL changed the organization's rule, so that the strict rule applies.
    private(set) var isKnown = true

    package init(approvalSeconds: Int? = nil, signInSeconds: Int? = nil) {
        self.approvalSeconds = approvalSeconds
        self.signInSeconds = signInSeconds
    }

    package static let approvalRange = 60...604_800
    package static let signInRange = 10...3_600

    /// The rule to apply if SQL changed the row: the strictest one that can be set. The organization's own rule can't have been
    /// stricter.
    private static let strict: KeyControl = {
        var control = KeyControl(approvalSeconds: approvalRange.lowerBound, signInSeconds: signInRange.lowerBound)
        control.isKnown = false
        return control
    }()

    package static let name = Grant.Name(.keyControl, [])

    package var grant: Grant {
        func text(_ seconds: Int?) -> [UInt8] { Grant.field(seconds.map { "\($0)" } ?? "none") }
        return Grant(Self.name, [text(approvalSeconds), text(signInSeconds)])
    }

    /// Whether an approval or a recent sign-in is required.
    package var isOn: Bool { approvalSeconds != nil || signInSeconds != nil }

    /// Whether `other` is less strict than this rule.
    func isWeakened(by other: KeyControl) -> Bool {
        func isWeaker(_ new: Int?, than old: Int?) -> Bool { old.map { (new ?? .max) > $0 } ?? false }
        return isWeaker(other.approvalSeconds, than: approvalSeconds) || isWeaker(other.signInSeconds, than: signInSeconds)
    }

    /// The rule in words, for events and messages.
    package var words: String {
        let approval = approvalSeconds.map { "approval within \($0) s" } ?? "no approval"
        return "\(approval), \(signInSeconds.map { "sign-in within \($0) s" } ?? "any sign-in")"
    }

    /// The organization's rule.
    ///
    /// - Parameter grants: The attested list. A row without an entry in this list has no effect.
    package static func read(
        _ organization: Organization, _ grants: GrantList, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws -> KeyControl {
        guard try grants.names(name) else { return KeyControl() }
        guard let control = try row(of: organization, on: connection), try grants.holds(control.grant, under: kek) else {
            return strict
        }
        return control
    }

    /// Reads the rule's row without verifying it.
    package static func row(of organization: Organization, on connection: isolated PostgresConnection) throws -> KeyControl? {
        try connection.query(
            "SELECT approval_seconds, sign_in_seconds FROM config.key_control WHERE organization_id = $1", [.uuid(organization.id)]
        ).first.map { KeyControl(approvalSeconds: try $0.decodeIfPresent(0), signInSeconds: try $0.decodeIfPresent(1)) }
    }

    /// Puts the rule into force.
    func store(_ change: inout AttestedChange, by caller: Caller, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            INSERT INTO config.key_control (organization_id, approval_seconds, sign_in_seconds, changed_by) VALUES ($1, $2, $3, $4)
            ON CONFLICT (organization_id) DO UPDATE SET approval_seconds = excluded.approval_seconds,
                   sign_in_seconds = excluded.sign_in_seconds, changed_on = now(), changed_by = excluded.changed_by
            """,
            [
                .uuid(change.organization.id), .int32(approvalSeconds.map(Int32.init)), .int32(signInSeconds.map(Int32.init)),
                .text(caller.actor),
            ])
        if isOn { _ = try change.grant(grant) } else { try change.remove(Self.name) }
    }
}
