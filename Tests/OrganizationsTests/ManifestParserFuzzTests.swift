import CellCrypto
import Foundation
import JSON
import TestSupport
import Testing

@testable import Model
@testable import Organizations
@testable import Tenancy

/// Parses mutated manifests, as an attacker could write them into an export. Each manifest is read or refused, and the values that
/// are read are safe to use in statements.
@Suite("The parser of an export's manifest")
struct ManifestParserFuzzTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let cases = environment["FIELDSEAL_FUZZ_CASES"].flatMap(Int.init) ?? 10_000
    private static let seed = environment["FIELDSEAL_FUZZ_SEED"].flatMap(UInt64.init) ?? 20_261_127

    private static func manifest(_ organization: String, _ more: String = "") -> String {
        let salt = Data(repeating: 7, count: DataKey.saltLength).base64EncodedString()
        return """
            {"format":"fieldseal export 1","organization":"\(organization)","organizationId":"01234567-89ab-7def-8123-456789abcdef",\
            "schema":"\(Organization.schema(of: organization))","schemaVersion":"0022_content_ids","productVersion":"1.0",\
            "exportedOn":"2026-11-27T12:00:00.000Z","keyVersion":3,"fingerprint":"0123456789abcdef","keySetOn":"2026-11-27T11:00:00Z",\
            "salt":"\(salt)","iterations":\(DataKey.iterationBounds.lowerBound),"keyCheck":"AAECAwQFBgc=",\
            "cells":{"mailbox":2,"queue":0},"dumpLength":4711,"dumpSHA256":"00ff"\(more)}
            """
    }

    private static let seeds = [
        manifest("contoso"), manifest("con-toso"), manifest("contoso", ",\"authentication\":\"AAEC\""),
        manifest("copy-1", ",\"later\":{\"a\":[1,null,true,\"\\u00e4\"]}"),
    ]

    @Test("A mutated manifest is read or refused within two seconds, and its values are safe")
    func mutations() throws {
        for text in Self.seeds { _ = try ExportManifest(JSONParser.parse(Array(text.utf8))) }
        var mutator = Mutator(seed: Self.seed)
        var refused = 0
        for number in 0..<Self.cases {
            let text = mutator.mutate(Self.seeds[number % Self.seeds.count], Self.seeds[mutator.below(Self.seeds.count)])
            let began = ContinuousClock.now
            do {
                let manifest = try ExportManifest(JSONParser.parse(Array(text.utf8)))
                #expect(Organization.isName(manifest.organization))
                #expect(manifest.schema == Organization.schema(of: manifest.organization))
                #expect(
                    manifest.dumpLength >= 0 && manifest.keyVersion > 0 && DataKey.iterationBounds.contains(manifest.iterations))
                #expect(manifest.cells.values.allSatisfy { $0 >= 0 })
            } catch is FieldsealError {
                refused += 1
            } catch is JSONParser.SyntaxError {
                refused += 1
            }
            #expect(ContinuousClock.now - began < .seconds(2), "case \(number) of seed \(Self.seed) takes too long")
        }
        #expect(refused > Self.cases / 4 && refused < Self.cases)
    }
}
