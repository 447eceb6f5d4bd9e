import CellCrypto
import Foundation
import PostgresClient

/// Opens the passwords of mailboxes with the organization key, without the service:
///
///     OpenCells CONNECTION SCHEMA < key
///
/// CONNECTION is a libpq connection string, and SCHEMA an organization's, such as `org_contoso`. The key is the first line of the
/// standard input. Each mailbox with a password is one line: its name, a tab, and the password.
@main
struct OpenCells {
    static func main() async throws {
        guard CommandLine.arguments.count == 3, let text = readLine() else {
            FileHandle.standardError.write(Data("usage: OpenCells CONNECTION SCHEMA < key\n".utf8))
            exit(64)
        }
        let connection = try await PostgresConnection.connect(CommandLine.arguments[1], applicationName: "OpenCells")
        let schema = CommandLine.arguments[2]
        try await connection.run { connection in
            _ = try connection.query("SELECT set_config('search_path', quote_ident($1), false)", [.text(schema)])
            let row = try connection.query("SELECT organization_id, salt, iterations, key_check FROM encryption")[0]
            let organization: UUID = try row.decode(0)
            let key = try DataKey(
                derivedFrom: OrganizationKeyText(text), salt: row.decode(1, as: PostgresBytes.self).bytes, iterations: row.decode(2)
            )
            guard KeyCheck.isOpened(try row.decode(3, as: PostgresBytes.self).bytes, by: key, organization: organization) else {
                FileHandle.standardError.write(Data("This is not the key of \(schema).\n".utf8))
                exit(1)
            }
            // During a key change there are cells of two keys. So a statement that reads cells has to name the key version.
            let cells = try connection.query(
                """
                SELECT m.mailboxid, coalesce(m.name, ''), c.password FROM mailbox AS m JOIN mailbox_cell AS c USING (mailboxid)
                 WHERE c.key_version = (SELECT key_version FROM encryption) AND c.password IS NOT NULL ORDER BY m.name
                """)
            for row in cells {
                let address = CellAddress(organization: organization, record: try row.decode(0), attribute: "mailbox.password")
                let password = try key.open(row.decode(2, as: PostgresBytes.self).bytes, at: address)
                // `password` is wiped when it is released. This copy of it, for the terminal, is not wiped.
                print(
                    try row.decode(1, as: String.self), password.withBytes { String(decoding: $0, as: UTF8.self) }, separator: "\t")
            }
        }
        await connection.close()
    }
}
