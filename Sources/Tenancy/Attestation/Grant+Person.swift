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
}
