import Foundation
import PostgresClient
import Synchronization
import TestOrganizations
import TestSupport
import Testing

@testable import CellCrypto
@testable import JSON
@testable import KeyManagement
@testable import Model
@testable import Records
@testable import Tenancy

@Suite("Changing the key", .timeLimit(.minutes(3)))
struct KeyChangeTests {
    private func createMailboxes(_ session: Session, _ count: Int) async throws -> [UUID] {
        var ids: [UUID] = []
        for number in 0..<count {
            let members: [JSONValue.Member] = [.init("name", "m"), .init("password", .string("secret-\(number)"))]
            ids.append(try await session.write(.create(.mailbox, members)).id)
        }
        return ids
    }

    @Test("After a key change every cell opens under the new key to the same value, and the old tables are dropped")
    func change() async throws {
        try await TestOrganization.with { organization in
            let ids = try await createMailboxes(organization.session(), 50)
            let versions = try await organization.sql("SELECT versionnumber::text FROM mailbox ORDER BY mailboxid", as: String.self)
            let summary = try await KeyAdministration(organization.session(), to: .change).changeKey(to: "Abcdefghij1!")
            #expect(summary.keyVersion == 2 && summary.cells == 50)
            #expect(try await organization.sql("SELECT DISTINCT cell.key_version(password) FROM mailbox_cell", as: Int.self) == [2])
            #expect(try await KeyAdministration(organization.session(), to: .verify).verifyCells().bad.isEmpty)
            let leaves = try await organization.sql("SELECT relname FROM pg_class WHERE relname ~ '_cell_k1$'", as: String.self)
            #expect(leaves == [])
            // A key change does not change the records' version numbers.
            #expect(
                try await organization.sql("SELECT versionnumber::text FROM mailbox ORDER BY mailboxid", as: String.self)
                    == versions)
            let session = try await organization.session()
            let key = try #require(organization.deployment.keyring.dataKey(of: session.state))
            for (number, id) in ids.enumerated() {
                let cell = try await organization.sql(
                    "SELECT password FROM mailbox_cell WHERE mailboxid = '\(id)' AND key_version = (SELECT key_version FROM encryption)",
                    as: PostgresBytes.self)[0]
                let address = CellAddress(organization: organization.organization.id, record: id, attribute: "mailbox.password")
                try key.open(cell.bytes, at: address).withBytes {
                    #expect(String(decoding: $0, as: UTF8.self) == "secret-\(number)")
                }
            }
        }
    }

    @Test("A key change works without cells, and with values of 1 and of 200 characters")
    func edges() async throws {
        try await TestOrganization.with { organization in
            #expect(try await KeyAdministration(organization.session(), to: .change).changeKey(to: nil).cells == 0)
            for text in ["x", String(repeating: "é", count: 200)] {
                try await organization.session().write(
                    .create(.queue, [.init("name", "q"), .init("emailpassword", .string(text))]))
            }
            try await organization.session().write(
                .create(.emailServerProfile, [.init("name", "p"), .init("outgoingpassword", "only one of two")]))
            #expect(try await KeyAdministration(organization.session(), to: .change).changeKey(to: nil).cells == 3)
            // Changing the key back to an earlier text also makes a new salt and a new key version.
            _ = try await KeyAdministration(organization.session(), to: .change).changeKey(to: "Abcdefghij1!")
            #expect(try await KeyAdministration(organization.session(), to: .change).changeKey(to: "Abcdefghij1!").keyVersion == 5)
            #expect(try await KeyAdministration(organization.session(), to: .verify).verifyCells().bad.isEmpty)
        }
    }

    @Test(
        "A damaged cell stops a key change with an error that names the cell, and nothing is changed",
        arguments: ["flipped", "moved"])
    func damaged(how: String) async throws {
        try await TestOrganization.with { organization in
            let ids = try await createMailboxes(organization.session(), 3)
            let sql =
                how == "flipped"
                ? "UPDATE mailbox_cell SET password = set_byte(password, 30, get_byte(password, 30) # 1) WHERE mailboxid = '\(ids[1])'"
                : "UPDATE mailbox_cell SET password = (SELECT password FROM mailbox_cell WHERE mailboxid = '\(ids[0])') WHERE mailboxid = '\(ids[1])'"
            try await organization.execute(sql)
            let before = try await organization.sql("SELECT password FROM mailbox_cell ORDER BY mailboxid", as: PostgresBytes.self)
                .map(\.bytes)
            let session = try await organization.session()
            let error = await #expect(throws: FieldsealError.self) {
                try await KeyAdministration(session, to: .change).changeKey(to: nil)
            }
            #expect(error?.code == .cannotDecryptExistingData)
            #expect(error?.message.contains(ids[1].text) == true && error?.message.contains("password") == true)
            #expect(
                try await organization.sql("SELECT password FROM mailbox_cell ORDER BY mailboxid", as: PostgresBytes.self).map(
                    \.bytes) == before)
            #expect(try await organization.sql("SELECT key_version FROM encryption", as: Int.self) == [1])
            #expect(try await organization.sql("SELECT count(*) FROM pg_class WHERE relname ~ '_cell_k2$'", as: Int.self) == [0])
            let report = try await KeyAdministration(organization.session(), to: .verify).verifyCells()
            #expect(
                report.cells == 3 && report.bad.map(\.cause) == [.damagedOrMoved] && report.bad[0].address.contains(ids[1].text))
        }
    }

    @Test("A write in a session with an old key seals the password again under the current key")
    func staleWriter() async throws {
        try await TestOrganization.with { organization in
            let stale = try await organization.session()
            let id = try await createMailboxes(stale, 1)[0]
            _ = try await KeyAdministration(organization.session(), to: .change).changeKey(to: nil)
            _ = try await KeyAdministration(organization.session(), to: .change).changeKey(to: nil)
            try await stale.write(.upsert(.mailbox, .id(id), [.init("password", "newer")], .mustExist))
            #expect(try await organization.sql("SELECT cell.key_version(password) FROM mailbox_cell", as: Int.self) == [3])
            try await stale.write(.create(.mailbox, [.init("name", "m"), .init("password", "new")]))
            try await stale.write(.upsert(.mailbox, .id(id), [.init("password", nil)], .mustExist))
            #expect(try await organization.sql("SELECT count(password) FROM mailbox_cell", as: Int.self) == [1])
            #expect(
                try await organization.sql("SELECT ispasswordset FROM mailbox WHERE mailboxid = '\(id)'", as: Bool.self) == [false])
            #expect(try await KeyAdministration(organization.session(), to: .verify).verifyCells().bad.isEmpty)
        }
    }

    @Test("Four writers lose no acknowledged write during five key changes")
    func writers() async throws {
        try await TestOrganization.with { organization in
            let ids = try await createMailboxes(organization.session(), 8)
            let stop = Flag()
            let last = try await withThrowingTaskGroup(of: [UUID: String].self) { group in
                for writer in 0..<4 {
                    group.addTask {
                        let session = try await organization.session()
                        var last: [UUID: String] = [:]
                        var number = 0
                        while !stop.isSet || number < 20 {
                            number += 1
                            let id = ids[writer * 2 + number % 2]
                            let text = "writer \(writer) value \(number)"
                            try await session.write(
                                .upsert(
                                    .mailbox, .id(id), [.init("password", .string(text))], .mustExist))
                            last[id] = text
                        }
                        return last
                    }
                }
                for _ in 0..<5 { _ = try await KeyAdministration(organization.session(), to: .change).changeKey(to: nil) }
                stop.set()
                return try await group.reduce(into: [:]) { $0.merge($1) { $1 } }
            }
            let session = try await organization.session()
            let key = try #require(organization.deployment.keyring.dataKey(of: session.state))
            #expect(session.state.keyVersion == 6 && last.count == 8)
            for (id, text) in last {
                let cell = try await organization.sql(
                    "SELECT password FROM mailbox_cell WHERE mailboxid = '\(id)' AND key_version = (SELECT key_version FROM encryption)",
                    as: PostgresBytes.self)
                let address = CellAddress(organization: organization.organization.id, record: id, attribute: "mailbox.password")
                try key.open(try #require(cell.first).bytes, at: address).withBytes {
                    #expect(String(decoding: $0, as: UTF8.self) == text)
                }
            }
            #expect(try await KeyAdministration(organization.session(), to: .verify).verifyCells().bad.isEmpty)
        }
    }

    @Test("Of eight key changes at once, each either succeeds, or is refused because another one is running")
    func atOnce() async throws {
        try await TestOrganization.with { organization in
            let outcomes = await withTaskGroup(of: Result<KeyChangeSummary, any Error>.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        do {
                            return .success(try await KeyAdministration(organization.session(), to: .change).changeKey(to: nil))
                        } catch { return .failure(error) }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            let happened = outcomes.compactMap { try? $0.get() }
            #expect(!happened.isEmpty)
            for case .failure(let error) in outcomes {
                let error = try #require(error as? FieldsealError)
                #expect(error.code == .setIsAlreadyRunning && error.retryAfter != nil)
            }
            #expect(try await organization.sql("SELECT key_version FROM encryption", as: Int.self) == [1 + happened.count])
        }
    }

    @Test("A key change beyond the quota is refused with the time after which it is allowed again")
    func quota() async throws {
        try await TestOrganization.with { organization in
            var policy = organization.deployment.policy
            policy.changeQuota = 2
            let limited = Deployment(
                conninfo: organization.deployment.conninfo, pool: organization.deployment.pool, kek: organization.deployment.kek,
                policy: policy)
            func change() async throws {
                _ = try await KeyAdministration(
                    Session.begin(limited, organization: "contoso", caller: TestOrganization.caller), to: .change
                ).changeKey(to: nil)
            }
            try await change()
            try await change()
            let error = await #expect(throws: FieldsealError.self) { try await change() }
            #expect(error?.code == .changeQuotaExceeded)
            #expect((1...3_600).contains(try #require(error?.retryAfter)))
        }
    }

    @Test("If an idle transaction needs the old tables, they stay, and the next key change drops them")
    func longReader() async throws {
        try await TestOrganization.with { organization in
            _ = try await createMailboxes(organization.session(), 2)
            let reader = try await PostgresConnection.connect(organization.database.conninfo)
            let schema = organization.organization.schema
            try await reader.run { reader in
                try reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                _ = try reader.query("SELECT count(*) FROM \(schema).mailbox_cell_k1")
            }
            _ = try await KeyAdministration(organization.session(), to: .change).changeKey(to: nil)
            #expect(
                try await reader.run { try $0.query("SELECT count(*) FROM \(schema).mailbox_cell_k1")[0].decode(0, as: Int.self) }
                    == 2)
            #expect(
                try await organization.sql("SELECT count(*) FROM pg_class WHERE relname = 'mailbox_cell_k1'", as: Int.self) == [1])
            await reader.rollBack()
            _ = try await KeyAdministration(organization.session(), to: .change).changeKey(to: nil)
            #expect(try await organization.sql("SELECT count(*) FROM pg_class WHERE relname ~ '_cell_k[12]$'", as: Int.self) == [0])
        }
    }

    @Test(
        "A write in a transaction whose snapshot is older than the switch is refused",
        arguments: ["REPEATABLE READ", "SERIALIZABLE"])
    func oldSnapshot(isolation: String) async throws {
        try await TestOrganization.with { organization in
            let id = try await createMailboxes(organization.session(), 1)[0]
            let writer = try await PostgresConnection.connect(organization.database.conninfo)
            let schema = organization.organization.schema
            try await writer.run { writer in
                try writer.execute("SET search_path = \(schema); BEGIN ISOLATION LEVEL \(isolation)")
                _ = try writer.query("SELECT 1 FROM encryption")
            }
            _ = try await KeyAdministration(organization.session(), to: .change).changeKey(to: nil)
            for statement in [
                "DELETE FROM mailbox WHERE mailboxid = '\(id)'", "DELETE FROM mailbox_cell WHERE mailboxid = '\(id)'",
                "UPDATE mailbox_cell SET password = password WHERE mailboxid = '\(id)'",
            ] {
                let error = await #expect(throws: PostgresError.self, "\(statement)") {
                    try await writer.run { writer in
                        try writer.execute("SAVEPOINT s")
                        defer { try? writer.execute("ROLLBACK TO s") }
                        try writer.execute(statement)
                    }
                }
                #expect(error?.sqlState == "FS001", "\(statement): \(String(describing: error))")
            }
            await writer.rollBack()
        }
    }
}

/// A flag that tasks share.
private final class Flag: Sendable {
    private let value = Mutex(false)
    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
}
