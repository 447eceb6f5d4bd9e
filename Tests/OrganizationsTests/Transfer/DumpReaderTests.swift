import Foundation
import Testing

@testable import Model
@testable import Organizations

/// Reads the output of `pg_restore` for a file that an attacker may have written. The reader must parse it as rows, or refuse it.
/// The reader must execute nothing in the output, must not hang, and must need the same memory for an output of any length.
///
/// `FIELDSEAL_FUZZ_CASES` and `FIELDSEAL_FUZZ_SEED` set the number of mutated texts and the seed.
@Suite("The reader of exports")
struct DumpReaderTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let cases = environment["FIELDSEAL_FUZZ_CASES"].flatMap(Int.init) ?? 4_000
    private static let seed = environment["FIELDSEAL_FUZZ_SEED"].flatMap(UInt64.init) ?? 20_261_126

    private static let text = """
        --
        -- PostgreSQL database dump
        --

        \\restrict 9aX

        SET statement_timeout = 0;
        SET transaction_timeout = 0;
        SET client_encoding = 'UTF8';
        SELECT pg_catalog.set_config('search_path', '', false);

        -- Data for Name: team; Type: TABLE DATA; Schema: org_contoso; Owner: -
        COPY org_contoso.team (teamid, "Name", createdon) FROM stdin;
        1\tone\\ttwo\\\\.\t\\N
        2\t\u{E4}\u{1F600}\t
        \\.


        COPY org_contoso.mailbox_cell_k2 (key_version, mailboxid, password) FROM stdin;
        \\.

        SELECT pg_catalog.setval('org_contoso.version_number', 42, true);
        \\unrestrict 9aX

        """

    /// Reads a whole text, a few bytes at a time.
    private static func read(
        _ bytes: [UInt8],
        piece: Int = 7,
        keeping: [Bool]? = nil
    ) throws -> (items: [DumpReader.Item], rows: [String]) {
        var offset = 0
        let reader = DumpReader(schema: "org_contoso") { buffer in
            let count = min(piece, bytes.count - offset, buffer.count)
            buffer.copyBytes(from: bytes[offset..<(offset + count)])
            offset += count
            return count
        }
        var items: [DumpReader.Item] = []
        var rows: [String] = []
        while let item = try reader.next() {
            items.append(item)
            guard case .rows(_, let columns) = item else { continue }
            var output: [UInt8] = []
            try reader.rows(keeping: keeping?.count == columns.count ? keeping : nil) { output += $0 }
            rows.append(String(decoding: output, as: UTF8.self))
        }
        return (items, rows)
    }

    @Test("Rows and sequences are read, whether the text arrives in small or large pieces", arguments: [1, 2, 3, 7, 4_096])
    func whole(piece: Int) throws {
        let (items, rows) = try Self.read(Array(Self.text.utf8), piece: piece)
        #expect(
            items == [
                .rows(table: "team", columns: ["teamid", "Name", "createdon"]),
                .rows(table: "mailbox_cell_k2", columns: ["key_version", "mailboxid", "password"]),
                .sequence(name: "version_number", value: 42, isCalled: true),
            ])
        #expect(rows == ["1\tone\\ttwo\\\\.\t\\N\n2\t\u{E4}\u{1F600}\t\n", ""])
    }

    @Test(
        "Only the columns to keep are written",
        arguments: [
            ([true, true, false], "1\tone\\ttwo\\\\.\n2\t\u{E4}\u{1F600}\n"),
            ([false, true, true], "one\\ttwo\\\\.\t\\N\n\u{E4}\u{1F600}\t\n"),
            ([false, false, true], "\\N\n\n"), ([true, false, true], "1\t\\N\n2\t\n"),
        ])
    func columns(keeping: [Bool], expected: String) throws {
        #expect(try Self.read(Array(Self.text.utf8), keeping: keeping).rows[0] == expected)
    }

    @Test(
        "A text that contains anything other than data of the schema is refused",
        arguments: [
            "COPY org_contoso.team FROM PROGRAM 'touch /tmp/owned';", "COPY org_contoso.team (teamid) FROM '/etc/passwd';",
            "COPY org_contoso.team (teamid) FROM stdin WITH (FREEZE);", "COPY org_contoso.team () FROM stdin;",
            "COPY (SELECT 1) TO stdout;", "COPY public.team (teamid) FROM stdin;\n\\.", "COPY team (teamid) FROM stdin;\n\\.",
            "CREATE FUNCTION org_contoso.f() RETURNS int LANGUAGE sql AS 'SELECT 1';", "DROP SCHEMA config CASCADE;",
            "\\! touch /tmp/owned",
            "SELECT pg_catalog.setval('org_contoso.x', 1, true); DROP TABLE x;", "SELECT pg_catalog.setval('config.x', 1, true);",
            "SELECT pg_catalog.lo_create('1');", "INSERT INTO org_contoso.team VALUES (1);", "SET client_encoding = 'LATIN1';",
            "COPY org_contoso.team (teamid) FROM stdin;\n1\n", "COPY org_contoso.team (teamid) FROM stdin;\n1",
            "COPY org_contoso.team (teamid) FROM",
            "COPY org_contoso.team (teamid) FROM stdin;\n\\.x\n", "COPY org_contoso.team (teamid) FROM stdin;\na\\.\n\\.\n",
            "COPY org_contoso.team (teamid) FROM stdin;\na\\\n\\.\n", "COPY org_contoso.team (teamid) FROM stdin;\na\\\tb\n\\.\n",
            "-- " + String(repeating: "x", count: DumpReader.lineLimit + 1),
            "COPY org_contoso.team (\((0..<2_000).map { "c\($0)" }.joined(separator: ", "))) FROM stdin;\n\\.",
        ])
    func refused(line: String) {
        #expect(throws: FieldsealError.self) { try Self.read(Array("\(line)\n".utf8), piece: 4_096) }
        #expect(throws: FieldsealError.self) { try Self.read(Array("\(Self.text)\(line)\n".utf8), piece: 4_096) }
    }

    @Test("A row without an end is refused once it exceeds the limit")
    func endlessRow() {
        var sent = 0
        let head = Array("COPY org_contoso.team (teamid) FROM stdin;\n".utf8)
        let reader = DumpReader(schema: "org_contoso") { buffer in
            guard sent > 0 else {
                buffer.copyBytes(from: head)
                sent = head.count
                return sent
            }
            for index in buffer.indices { buffer[index] = UInt8(ascii: "x") }
            sent += buffer.count
            return buffer.count
        }
        #expect(throws: FieldsealError.self) {
            _ = try reader.next()
            try reader.rows { _ in }
        }
        #expect(sent < DumpReader.rowLimit * 2)
    }

    @Test("A mutated text is read or refused within two seconds")
    func mutations() throws {
        var generator = SplitMix(state: Self.seed)
        let seed = Array(Self.text.utf8)
        let words = [
            "\\.", "\n", "\t", "\\", "COPY ", " FROM stdin;", "\"", "'", "\0", "\u{FF}", ");", "SELECT pg_catalog.setval(",
        ].map { Array($0.utf8) }
        var refused = 0
        for number in 0..<Self.cases {
            var bytes = seed
            for _ in 0...generator.below(3) {
                let at = generator.below(bytes.count)
                switch generator.below(4) {
                case 0: bytes[at] = UInt8(generator.below(256))
                case 1: bytes.removeSubrange(at..<min(bytes.count, at + 1 + generator.below(20)))
                case 2: bytes.insert(contentsOf: words[generator.below(words.count)], at: at)
                default:
                    bytes.insert(
                        contentsOf: bytes[at..<min(bytes.count, at + generator.below(200))], at: generator.below(bytes.count))
                }
                if bytes.isEmpty { bytes = seed }
            }
            let began = ContinuousClock.now
            do {
                let (items, _) = try Self.read(bytes, piece: 1 + generator.below(64))
                for case .rows(let table, let columns) in items { #expect(!table.isEmpty && !columns.isEmpty) }
            } catch is FieldsealError {
                refused += 1
            }
            #expect(ContinuousClock.now - began < .seconds(2), "case \(number) of seed \(Self.seed) takes too long")
        }
        #expect(refused > Self.cases / 10 && refused < Self.cases)
    }
}

private struct SplitMix {
    var state: UInt64

    mutating func below(_ limit: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((z ^ (z >> 31)) % UInt64(limit))
    }
}
