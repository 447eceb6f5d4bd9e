import CellCrypto
import Foundation
import JSON
import Model
import Records
import Tenancy

/// The sample records of a new development organization: profiles, mailboxes, queues and users with passwords.
///
/// The records' ids are fixed, so a repetition after an interruption creates no record twice.
struct DevelopmentSamples: Sendable {
    let session: Session
    /// The id of the client with the role Basic User, which owns some of the records.
    let user: UUID

    func create() async throws {
        let profile = Self.id(1)
        try await put(
            .emailServerProfile, profile,
            [
                "name": "Contoso mail", "servertype": 1, "incomingserverlocation": "mail.contoso.test", "incomingportnumber": 993,
                "incomingusername": "router", "incomingpassword": try Self.password(),
                "outgoingserverlocation": "mail.contoso.test", "outgoingportnumber": 465, "outgoingusername": "router",
                "outgoingpassword": try Self.password(),
            ])
        for (number, name) in ["Alice", "Bob", "Carol"].enumerated() {
            let owner = Self.id(10 + number)
            try await put(
                .systemUser, owner,
                ["fullname": .string(name), "domainname": .string("CONTOSO\\\(name.lowercased())")])
            try await put(.userSettings, owner, ["emailpassword": try Self.password()])
            try await put(
                .mailbox, Self.id(20 + number),
                [
                    "name": .string(name), "emailaddress": .string("\(name.lowercased())@contoso.test"),
                    "username": .string(name.lowercased()), "password": try Self.password(),
                    "emailserverprofile@odata.bind": .string("/emailserverprofiles(\(profile.text))"),
                    "ownerid@odata.bind": .string("/systemusers(\(owner.text))"),
                ])
        }
        try await put(
            .mailbox, Self.id(30),
            [
                "name": "Sample user", "emailaddress": "user@contoso.test", "password": try Self.password(),
                "ownerid@odata.bind": .string("/systemusers(\(user.text))"),
            ])
        for (number, name) in ["Support", "Sales"].enumerated() {
            try await put(
                .queue, Self.id(40 + number),
                [
                    "name": .string(name), "emailaddress": .string("\(name.lowercased())@contoso.test"),
                    "emailusername": .string(name.lowercased()), "emailpassword": try Self.password(),
                ])
        }
    }

    private func put(_ entity: EntityDefinition, _ id: UUID, _ members: KeyValuePairs<String, JSONValue>) async throws {
        try await session.write(.upsert(entity, .id(id), members.map { JSONValue.Member($0.key, $0.value) }))
    }

    private static func password() throws -> JSONValue { .string(Data(try randomBytes(count: 12)).base64URL) }

    private static func id(_ number: Int) -> UUID {
        var bytes: uuid_t = (0xC0, 0x47, 0x05, 0x00, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0)
        bytes.15 = UInt8(number)
        return UUID(uuid: bytes)
    }
}
