import Foundation
import PostgresClient
import TestOrganizations
import TestSupport
import Testing

@testable import Authentication
@testable import CellCrypto
@testable import JSON
@testable import KeyManagement
@testable import Model
@testable import Organizations
@testable import Records
@testable import Tenancy

@Suite("Activation")
struct ActivationTests {
    @Test("Without its key, an organization reads and writes plain attributes, and refuses passwords until activation")
    func lostKey() async throws {
        try await TestOrganization.with { organization in
            let session = try await organization.session()
            let id = try await session.write(.create(.mailbox, [.init("name", "m"), .init("password", "s3cret")])).id
            let text = try await KeyAdministration(session, to: .read).retrieveDataEncryptionKey().withString { $0 }
            try await organization.execute(
                "ALTER TABLE config.organization_key DISABLE TRIGGER ALL; DELETE FROM config.organization_key")
            #expect(try await KeyAdministration(organization.session(), to: .see).isDataEncryptionActive() == false)
            #expect(try await organization.session().retrieve(.mailbox, .id(id)).records.count == 1)
            try await organization.session().write(.upsert(.mailbox, .id(id), [.init("name", "n")], .mustExist))

            func code(_ body: (Session) async throws -> Void) async throws -> ErrorCode? {
                let session = try await organization.session()
                return await #expect(throws: FieldsealError.self) { try await body(session) }?.code
            }
            #expect(try await code { try await $0.write(.upsert(.mailbox, .id(id), [.init("password", "x")])) } == .keyRequired)
            #expect(try await code { try await $0.write(.upsert(.mailbox, .id(id), [.init("password", nil)])) } == .keyRequired)
            #expect(
                try await code { try await $0.write(.create(.mailbox, [.init("name", "box"), .init("password", "x")])) }
                    == .keyRequired)
            #expect(try await code { _ = try await KeyAdministration($0, to: .read).retrieveDataEncryptionKey() } == .keyRequired)
            #expect(
                try await code { _ = try await KeyAdministration($0, to: .change).changeKey(to: nil) } == .isInactiveCannotChange)
            #expect(try await code { _ = try await KeyAdministration($0, to: .verify).verifyCells() } == .keyRequired)
            #expect(
                try await code { try await KeyAdministration($0, to: .activate).setDataEncryptionKey("", change: false) }
                    == .keyValidation)
            #expect(
                try await code {
                    try await KeyAdministration($0, to: .activate).setDataEncryptionKey("Wrong-key-12345", change: false)
                } == .restoreCannotDecrypt)

            try await KeyAdministration(organization.session(), to: .activate).setDataEncryptionKey(text, change: false)
            #expect(try await KeyAdministration(organization.session(), to: .see).isDataEncryptionActive())
            #expect(
                try await code { try await KeyAdministration($0, to: .activate).setDataEncryptionKey(text, change: false) }
                    == .isActiveCannotRestore)
            #expect(
                try await code {
                    try await KeyAdministration($0, to: .activate).setDataEncryptionKey("Other-key-12345", change: false)
                } == .isActiveCannotRestore)
            #expect(try await KeyAdministration(organization.session(), to: .verify).verifyCells().bad.isEmpty)
            #expect(try await KeyAdministration(organization.session(), to: .see).encryptionStatus().origin == "activated")
            let events = try await organization.sql("SELECT kind || ' ' || outcome FROM security_event ORDER BY 1", as: String.self)
            #expect(events.contains("key activated failed") && events.contains("key activated succeeded"))
        }
    }

    @Test("After ten wrong keys, the right key is refused too, until the interval has passed")
    func throttle() async throws {
        try await TestOrganization.with { organization in
            let text = try await KeyAdministration(organization.session(), to: .read).retrieveDataEncryptionKey().withString { $0 }
            try await organization.execute(
                "ALTER TABLE config.organization_key DISABLE TRIGGER ALL; DELETE FROM config.organization_key")
            for _ in 0..<10 {
                let session = try await organization.session()
                await #expect(throws: FieldsealError.self) {
                    try await KeyAdministration(session, to: .activate).setDataEncryptionKey("Wrong-key-12345", change: false)
                }
            }
            let session = try await organization.session()
            let error = await #expect(throws: FieldsealError.self) {
                try await KeyAdministration(session, to: .activate).setDataEncryptionKey(text, change: false)
            }
            #expect(error?.code == .requestQuotaExceeded && (error?.retryAfter ?? 0) > 0)
            try await organization.execute("UPDATE config.failed_sign_in SET last_on = now() - interval '16 minutes'")
            try await KeyAdministration(session, to: .activate).setDataEncryptionKey(text, change: false)
        }
    }

    @Test("If the KEK was lost, activation with the organization key's text wraps the key under the new KEK")
    func otherKek() async throws {
        try await TestOrganization.with { organization in
            let text = try await KeyAdministration(organization.session(), to: .read).retrieveDataEncryptionKey().withString { $0 }
            let other = Deployment(
                conninfo: organization.deployment.conninfo, pool: organization.deployment.pool,
                kek: try KeyEncryptionKey(SecretBytes.random(count: 64)), policy: organization.deployment.policy)
            func session(of caller: Caller = TestOrganization.caller) async throws -> Session {
                try await Session.begin(other, organization: "contoso", caller: caller)
            }
            // Under another key-encryption key, no tag of the organization verifies until an administrator accepts its state.
            #expect(await #expect(throws: FieldsealError.self) { try await session() }?.code == .keySourceMissing)
            let registry = OrganizationRegistry(
                conninfo: organization.database.conninfo, kek: other.kek, policy: other.policy)
            let shown = try await registry.attestationReport(of: "contoso", trustingTags: false)
            let report = try await registry.attestAgain(
                name: "contoso", as: shown, trustingTags: false, by: TestOrganization.caller)
            #expect(!report.differences.isEmpty && report.authentic.isEmpty)
            #expect(try await KeyAdministration(session(), to: .see).isDataEncryptionActive() == false)
            // Without a verified list, the rule for the use of the key is unknown, so the strictest one applies.
            let awaited = await #expect(throws: FieldsealError.self) {
                try await KeyAdministration(session(), to: .activate).setDataEncryptionKey(text, change: false)
            }
            #expect(awaited?.code == .approvalAwaited)
            let second = Caller(
                actor: "user:second", clientID: nil, systemUserID: UUID(), role: .systemAdministrator, address: nil, requestID: nil)
            let request = try #require(try await ApprovalAdministration(session(), to: .see).list().first)
            try await ApprovalAdministration(session(of: second), to: .approve).approve(request.id)
            try await KeyAdministration(session(), to: .activate).setDataEncryptionKey(text, change: false)
            #expect(try await KeyAdministration(session(), to: .see).isDataEncryptionActive())
        }
    }

    @Test("After `config` was lost, an organization's schema can be attached, and activated with its key")
    func attach() async throws {
        try await TestOrganization.with { organization in
            let session = try await organization.session()
            let id = try await session.write(.create(.mailbox, [.init("name", "m"), .init("password", "s3cret")])).id
            _ = try await KeyAdministration(session, to: .change).changeKey(to: "Abcdefghij1!")
            let fingerprint = try await KeyAdministration(organization.session(), to: .see).encryptionStatus().fingerprint
            try await organization.reapplyConfig()
            let registry = OrganizationRegistry(
                conninfo: organization.database.conninfo, kek: organization.deployment.kek, policy: organization.deployment.policy)
            let attached = try await registry.attach(name: "contoso", by: TestOrganization.caller)
            #expect(attached.id == organization.organization.id)
            let status = try await KeyAdministration(organization.session(), to: .see).encryptionStatus()
            #expect(!status.isActive && status.keyVersion == 2 && status.fingerprint == fingerprint)
            #expect(
                try await organization.sql(
                    "SELECT bool_or(enabledforincomingemail OR enabledforoutgoingemail) FROM mailbox", as: Bool.self) == [false])
            try await KeyAdministration(organization.session(), to: .activate).setDataEncryptionKey("Abcdefghij1!", change: false)
            #expect(try await KeyAdministration(organization.session(), to: .verify).verifyCells().cells == 1)
            try await organization.session().write(.upsert(.mailbox, .id(id), [.init("password", "again")], .mustExist))
            await #expect(throws: FieldsealError.self) { try await registry.attach(name: "contoso", by: TestOrganization.caller) }
            await #expect(throws: FieldsealError.self) { try await registry.attach(name: "nobody", by: TestOrganization.caller) }
            await #expect(throws: FieldsealError.self) { try await registry.create(name: "contoso", by: TestOrganization.caller) }
        }
    }

    @Test("Only a System Administrator may see, read or change the key, and each refusal is recorded", arguments: Role.allCases)
    func roles(role: Role) async throws {
        try await TestOrganization.with { organization in
            let administrator = try await organization.session()
            let client = try await ClientAdministration(administrator).add(name: "c", role: role)
            let session = try await Session.begin(
                organization.deployment, organization: "contoso", client: client.id, address: "127.0.0.1", requestID: "r")
            guard role != .systemAdministrator else {
                #expect(try await KeyAdministration(session, to: .see).isDataEncryptionActive())
                return
            }
            for body in [
                { @Sendable in _ = try await KeyAdministration(session, to: .see).isDataEncryptionActive() },
                { _ = try await KeyAdministration(session, to: .read).retrieveDataEncryptionKey() },
                { try await KeyAdministration(session, to: .change).setDataEncryptionKey("Abcdefghij1!", change: true) },
            ] as [@Sendable () async throws -> Void] {
                #expect(await #expect(throws: FieldsealError.self) { try await body() }?.code == .privilegeDenied)
            }
            let refused = try await organization.sql(
                "SELECT count(*) FROM security_event WHERE outcome = 'refused' AND address = '127.0.0.1'", as: Int.self)
            #expect(refused == [3])
        }
    }

    @Test("A client whose row SQL changed is refused")
    func forgedClient() async throws {
        try await TestOrganization.with { organization in
            let client = try await ClientAdministration(organization.session()).add(name: "c", role: .basicUser)
            func begin() async throws -> Session {
                try await Session.begin(
                    organization.deployment, organization: "contoso", client: client.id, address: nil, requestID: "r")
            }
            #expect(try await begin().caller.role == .basicUser)
            try await organization.execute("UPDATE config.api_client SET role = 'System Administrator'")
            #expect(await #expect(throws: FieldsealError.self) { try await begin() }?.code == .accessDenied)
            #expect(try await ClientAdministration(organization.session()).list().map(\.isAuthentic) == [false])
        }
    }
}
