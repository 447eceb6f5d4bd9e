import Authentication
import CellCrypto
import Foundation
import JSON
import Tenancy

/// A form that was sent when the password had to be entered again. The page that asks for the password contains the form,
/// sealed under the key-encryption key, and sends it again afterwards.
///
/// The sealed form opens only for the same person, and for a short time. Entering the password changes the session's token, so the
/// form is not bound to this token.
struct KeptForm {
    private let kek: KeyEncryptionKey
    private let address: CellAddress

    private let lifetime: TimeInterval

    /// Why a form waits.
    enum Cause: String {
        /// The session had ended.
        case ended
        /// The person signed in again, or confirmed the password, in another tab.
        case other
        /// The person had to choose another password first, or to turn two-step sign-in on.
        case password, secondFactor
        /// The person's role did not allow it.
        case role
    }

    /// The contents of the form: its address, without the organization, its fields, when it was sent, and why it waits.
    typealias Content = (path: String, fields: [String: String], date: Date, cause: Cause)

    /// Seconds for which a form waits for its person.
    static let patience: TimeInterval = 1_800

    /// The field that carries a kept form.
    static let field = "kept"

    /// A form that waits ten minutes for the password.
    init(_ kek: KeyEncryptionKey, _ signed: ConsoleSessions.AuthenticatedUser) {
        self.init(kek, signed.session.organization, signed.userID, "consoleform.fresh", lifetime: 600)
    }

    /// A form that waits half an hour for its person to sign in again.
    init(_ kek: KeyEncryptionKey, endedFor userID: UUID, of organization: Organization) {
        self.init(kek, organization, userID, "consoleform.ended", lifetime: Self.patience)
    }

    /// The result of a change of many records, which the address of the list holds for half an hour.
    init(_ kek: KeyEncryptionKey, resultFor signed: ConsoleSessions.AuthenticatedUser) {
        self.init(kek, signed.session.organization, signed.userID, "consoleform.result", lifetime: 1_800)
    }

    /// A page with a question, which is the response to a form. The page's address contains the sealed page, which opens for half
    /// an hour.
    init(_ kek: KeyEncryptionKey, askedOf signed: ConsoleSessions.AuthenticatedUser) {
        self.init(kek, signed.session.organization, signed.userID, "consoleform.asked", lifetime: 1_800)
    }

    private init(
        _ kek: KeyEncryptionKey, _ organization: Organization, _ userID: UUID, _ attribute: String, lifetime: TimeInterval
    ) {
        self.kek = kek
        self.lifetime = lifetime
        address = CellAddress(organization: organization.id, record: userID, attribute: attribute)
    }

    /// - Parameter path: The form's address, without the organization.
    func sealed(_ fields: [String: String], path: String, cause: Cause = .ended) throws -> String {
        let members = fields.filter { $0.key != "csrf" }.sorted { $0.key < $1.key }.map {
            JSONValue.Member($0.key, .string($0.value))
        }
        let content: JSONValue = [
            "path": .string(path), "time": .integer(Int64(Date().timeIntervalSince1970)), "fields": .object(members),
            "cause": .string(cause.rawValue),
        ]
        return Data(try kek.seal(content.utf8.withUnsafeBytes(SecretBytes.init(copying:)), at: address).bytes).base64URL
    }

    /// - Returns: Nil for another person's form. The form may be too old: see ``isCurrent(_:)``.
    func opened(_ text: String) -> Content? {
        guard let bytes = Data(base64URL: text).map(Array.init), let secret = try? kek.open(bytes, at: address) else { return nil }
        return secret.withBytes { bytes in
            guard let content = try? JSONParser.parse(Array(bytes)), let path = content["path"]?.string,
                case .integer(let time)? = content["time"], case .object(let members)? = content["fields"]
            else { return nil }
            let fields = members.reduce(into: [:]) { $0[$1.name] = $1.value.string }
            let cause = content["cause"]?.string.flatMap(Cause.init(rawValue:)) ?? .ended
            return (path, fields, Date(timeIntervalSince1970: TimeInterval(time)), cause)
        }
    }

    /// Whether a form may still be sent.
    func isCurrent(_ form: Content) -> Bool { (-60...lifetime).contains(Date().timeIntervalSince(form.date)) }
}
