import Foundation
import TestSupport
import Testing

@testable import JSON
@testable import Model
@testable import Records
@testable import Tenancy
@testable import WebAPI

/// Gives mutated texts to every parser of clients' texts. Each text must be read, or refused with a code: no crash, no hang, and no
/// literal in a statement's text.
///
/// `FIELDSEAL_FUZZ_CASES` and `FIELDSEAL_FUZZ_SEED` set the number of texts and the seed; `make fuzz` runs millions.
@Suite("Parsers of texts from clients, with mutated texts")
struct ParserFuzzTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let cases = environment["FIELDSEAL_FUZZ_CASES"].flatMap(Int.init) ?? 20_000
    private static let seed = environment["FIELDSEAL_FUZZ_SEED"].flatMap(UInt64.init) ?? 20_261_124

    private static let seeds: [(kind: String, text: String)] = {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/expressions.txt")
        return ((try? String(contentsOf: file, encoding: .utf8)) ?? "").split(separator: "\n").compactMap { line in
            let parts = line.split(separator: "\t", maxSplits: 1)
            return parts.count == 2 ? (String(parts[0]), String(parts[1]).replacing("\\r\\n", with: "\r\n")) : nil
        }
    }()

    @Test("Every seed is read without a mutation")
    func seedsAreRead() throws {
        #expect(Self.seeds.count >= 15)
        for (kind, text) in Self.seeds { try Self.parse(kind, text) }
    }

    @Test("A mutated seed is read, or refused with a code, within the time limit")
    func mutations() throws {
        var mutator = Mutator(seed: Self.seed)
        var refused = 0
        let start = ContinuousClock.now
        for number in 0..<Self.cases {
            let (kind, text) = Self.seeds[number % Self.seeds.count]
            let other = Self.seeds[mutator.below(Self.seeds.count)].text
            let mutated = mutator.mutate(text, other)
            let began = ContinuousClock.now
            do {
                try Self.parse(kind, mutated)
            } catch is FieldsealError {
                refused += 1
            } catch is JSONParser.SyntaxError where kind == "json" {
                refused += 1
            }
            #expect(
                ContinuousClock.now - began < .seconds(2),
                "case \(number) of seed \(Self.seed) takes too long: \(mutated.debugDescription)")
        }
        #expect(refused > Self.cases / 4 && refused < Self.cases)
        print("fuzzed \(Self.cases) cases of seed \(Self.seed) in \(ContinuousClock.now - start), \(refused) refused")
    }

    @Test("No literal of a client is in the text of an SQL statement")
    func literals() throws {
        let canary = "c4n4ry"
        for filter in [
            "name eq '\(canary)'", "contains(name,'\(canary)')", "name in ('\(canary)')", "'\(canary)' lt name",
            "emailserverprofile/name eq '\(canary)'", "emailserverprofile/emailserverprofile_mailbox/any(m:m/name eq '\(canary)')",
        ] {
            var query = RecordQuery()
            query.filter = try FilterParser.parse(filter)
            #expect(try !Self.statement(query).contains(canary))
        }
        #expect(throws: FieldsealError.self) {
            try Self.statement(FetchParser("<fetch><entity name='mailbox'><attribute name='\(canary)'/></entity></fetch>").query)
        }
        let sql = try SQLParser.parse(
            "SELECT name AS \(canary) FROM mailbox \(canary) WHERE name = '\(canary)' AND \(canary).name LIKE '\(canary)'"
        ).query
        #expect(try !Self.statement(sql).contains(canary))
    }

    private static func parse(_ kind: String, _ text: String) throws {
        switch kind {
        case "filter":
            var query = RecordQuery()
            query.filter = try FilterParser.parse(text, aliases: ["p": "1"])
            _ = try? statement(query)
        case "expand": _ = try ExpandParser.parse(text, aliases: [:])
        case "apply":
            var query = RecordQuery()
            try ApplyParser.parse(text, of: .mailbox, into: &query)
            _ = try? statement(query)
        case "order":
            var query = RecordQuery()
            query.order = try ODataQuery.order(text)
            _ = try? statement(query)
        case "fetch": _ = try? statement(try FetchParser(text).query)
        case "sql": _ = try? statement(try SQLParser.parse(text).query)
        case "path": _ = try ODataPath(Substring(text))
        case "query": _ = try ODataQuery(text, for: .mailbox, .list)
        case "json": _ = try JSONParser.parse(Array(text.utf8))
        case "multipart": _ = try MultipartBatch.parse(Array(text.utf8), boundary: "b")
        case "batch": _ = try JSONBatch.parse(Array(text.utf8))
        case "soap": try parseSOAP(text)
        default: Issue.record("no parser for \(kind)")
        }
    }

    /// Parses an envelope, and the request in its operation.
    private static func parseSOAP(_ text: String) throws {
        do {
            let document = try XMLReader.read(Array(text.utf8))
            let operation = try SOAPMessage(document, contract: Contract.services, action: nil).body
            switch operation.local {
            case "RetrieveMultiple":
                guard let query = operation.first("query") else { return }
                var read = try QueryReader(query).query
                _ = try ResultColumns(&read, of: .mailbox)
                _ = try? statement(read)
            case "Create": if let entity = operation.first("entity") { _ = try ContractEntity(entity).members() }
            default:
                guard let element = operation.first("request") else { return }
                let request = try OrganizationRequest(element)
                _ = try? request.entity("Target").members()
                _ = try? request.entities("Targets")
                if let query = request.element("Query") { _ = try MetadataQuery(query) }
            }
        } catch let error as XMLSyntaxError {
            throw FieldsealError(.badRequest, error.description)
        } catch let fault as SOAPFault {
            throw FieldsealError(fault.code, fault.message)
        }
    }

    /// The statement for a System Administrator.
    private static func statement(_ query: RecordQuery) throws -> String {
        let organization = Organization(id: UUID(), name: "contoso")
        let caller = Caller.commandLine(user: "test")
        return try QueryPlan(query, of: .mailbox, organization, caller).sql
    }
}
