package import CellCrypto
import JSON
package import PostgresClient

/// What an organization asks for, besides the role, before its key is shown or set.
public struct KeyControl: Sendable, Equatable {
    /// Seconds within which a second System Administrator approves, and the caller then repeats the request. Nil where no approval
    /// is asked for.
    public var approvalSeconds: Int?
    /// Seconds after its sign-in in which a client may use the key messages of the API. Nil for as long as its token is valid.
    public var signInSeconds: Int?

    public init(approvalSeconds: Int? = nil, signInSeconds: Int? = nil) {
        self.approvalSeconds = approvalSeconds
        self.signInSeconds = signInSeconds
    }

    public static let approvalRange = 60...604_800
    public static let signInRange = 10...3_600

    /// What counts where SQL changed the row: it takes no rule away.
    private static let strict = KeyControl(approvalSeconds: 3_600, signInSeconds: 300)

    package static let name = Grant.Name(.keyControl, [])

    package var grant: Grant {
        func text(_ seconds: Int?) -> [UInt8] { Grant.field(seconds.map { "\($0)" } ?? "none") }
        return Grant(Self.name, [text(approvalSeconds), text(signInSeconds)])
    }

    /// Whether anything is asked for.
    public var isOn: Bool { approvalSeconds != nil || signInSeconds != nil }

    /// Whether another rule asks for less.
    func isWeakened(by other: KeyControl) -> Bool {
        func isWeaker(_ new: Int?, than old: Int?) -> Bool { old.map { (new ?? .max) > $0 } ?? false }
        return isWeaker(other.approvalSeconds, than: approvalSeconds) || isWeaker(other.signInSeconds, than: signInSeconds)
    }

    /// In words, for events and messages.
    public var words: String {
        let approval = approvalSeconds.map { "approval within \($0) s" } ?? "no approval"
        return "\(approval), \(signInSeconds.map { "sign-in within \($0) s" } ?? "any sign-in")"
    }

    /// What an organization asks for.
    ///
    /// - Parameter grants: The attested list: without an entry in it, a row counts for nothing.
    package static func read(
        _ organization: Organization, _ grants: GrantList, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws -> KeyControl {
        guard try grants.names(name) else { return KeyControl() }
        guard let control = try row(of: organization, on: connection), try grants.holds(control.grant, under: kek) else {
            return strict
        }
        return control
    }

    /// The row as it is.
    package static func row(of organization: Organization, on connection: isolated PostgresConnection) throws -> KeyControl? {
        try connection.query(
            "SELECT approval_seconds, sign_in_seconds FROM config.key_control WHERE organization_id = $1", [.uuid(organization.id)]
        ).first.map { KeyControl(approvalSeconds: try $0.decodeIfPresent(0), signInSeconds: try $0.decodeIfPresent(1)) }
    }

    /// Puts the rule in force.
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
