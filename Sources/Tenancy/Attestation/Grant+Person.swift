package import Foundation
import JSON
package import PostgresClient

extension Grant {
    package static func personName(_ id: UUID) -> Name { Name(.user, [id.bytes]) }

    /// The attested contents of a row of `config.console_user`. `totp_step` is left out, because it changes with each sign-in and
    /// grants no access.
    package static func person(
        _ id: UUID, organization: UUID, name: String, systemUser: UUID, role: String, salt: [UInt8], verifier: [UInt8],
        totp: [UInt8]?, disabledOn: PostgresMoment?, mustChangePassword: Bool
    ) -> Grant {
        Grant(
            personName(id),
            [
                organization.bytes, field(name), systemUser.bytes, field(role), salt, verifier, field(totp), field(disabledOn),
            ] + (mustChangePassword ? [field("must change password")] : []))
    }

    /// Says that a person chose the password with this salt. The entry gives no access. Without it, the password ends when the
    /// person gets more rights.
    package static func ownPassword(of person: UUID, salt: [UInt8]) -> Grant { Grant(.ownPassword(of: person), [salt]) }
}

extension Grant.Name {
    package static func invitation(of person: UUID) -> Grant.Name { Grant.Name(.invitation, [person.bytes]) }

    package static func ownPassword(of person: UUID) -> Grant.Name { Grant.Name(.ownPassword, [person.bytes]) }

    package static func session(_ tokenHash: [UInt8]) -> Grant.Name { Grant.Name(.session, [tokenHash]) }

    /// The group of all sessions of a person.
    package static func sessions(of person: UUID) -> Grant.Name { Grant.Name(.sessions, [person.bytes]) }
}
