import Foundation
import JSON
import Model
import Records

/// Writes rows of a query as `Entity` contracts, directly from PostgreSQL's bytes.
struct RecordContracts: Sendable {
    /// The prefixes at the place where the rows are written.
    struct Prefixes: Sendable, Equatable {
        /// The prefix of the contracts.
        var xrm = "a"
        /// The prefix of pairs of a key and a value.
        var pairs = "b"
        /// The prefix of XML Schema.
        var schema = "c"
    }

    private let entity: EntityDefinition
    private let shape: RowShape
    private let prefixes: Prefixes
    private let partyLists: [String]
    private let idPlace: RowShape.Place?
    private let markup: RowMarkup

    init(_ result: ResultColumns, _ shape: RowShape, _ prefixes: Prefixes) {
        entity = result.entity
        self.shape = shape
        self.prefixes = prefixes
        partyLists = result.partyLists
        idPlace = result.idPlace.flatMap { shape.columns[$0].place }
        markup = RowMarkup(result, shape, prefixes)
    }

    /// Appends the contents of a row's `Entity`.
    func write(_ record: Record, _ expanded: [ExpandedProperty], to output: inout [UInt8]) throws {
        try markup.bytes.withUnsafeBytes { bytes in
            func put(_ range: Range<Int>) { output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[range])) }
            put(markup.entityStart)
            for value in markup.values where !record.isNull(value.place) {
                put(value.start)
                try record.writeXML(value.place, to: &output)
                if let reference = value.reference { try end(reference, of: record, bytes, &output) }
                put(value.end)
            }
            if !partyLists.isEmpty { try writeParties(of: record, expanded, &output) }
            put(markup.attributesEnd)
            for value in markup.values where value.isFormatted && !record.isNull(value.place) {
                try writeFormatted(value, record, bytes, &output)
            }
            put(markup.formattedEnd)
            if let idPlace, !record.isNull(idPlace) {
                try record.writeXML(idPlace, to: &output)
            } else {
                output.append(record.id)
            }
            put(markup.idEnd)
            guard shape.hasRecords else { return put(markup.rowVersionNull) }
            output.append(UInt8(ascii: ">"))
            output.appendDecimal(Int(record.versionNumber))
            put(markup.rowVersionEnd)
        }
    }

    private func end(
        _ reference: RowMarkup.Reference, of record: Record, _ bytes: UnsafeRawBufferPointer, _ output: inout [UInt8]
    ) throws {
        func put(_ range: Range<Int>) { output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[range])) }
        put(markup.referenceKind)
        if let kind = reference.kind, !record.isNull(kind) {
            try record.writeXML(kind, to: &output)
        } else {
            put(reference.target)
        }
        guard let name = reference.name, !record.isNull(name) else { return put(markup.referenceUnnamed) }
        put(markup.referenceName)
        try record.writeXML(name, to: &output)
        put(markup.referenceEnd)
    }

    private func writeFormatted(
        _ value: RowMarkup.Value, _ record: Record, _ bytes: UnsafeRawBufferPointer, _ output: inout [UInt8]
    ) throws {
        func put(_ range: Range<Int>) { output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[range])) }
        switch value.formatted {
        case .none: return
        case .label(let labels):
            let number = try record.integer(value.place)
            guard let label = markup.labels[labels].first(where: { $0.value == number }) else { return }
            put(value.formattedStart)
            put(label.text)
        case .flag:
            put(value.formattedStart)
            output.append(contentsOf: (try record.flag(value.place) ? "Yes" : "No").utf8)
        case .number:
            put(value.formattedStart)
            output.appendGrouped(Int64(try record.integer(value.place)))
        case .date:
            put(value.formattedStart)
            output.appendFormatted(try record.moment(value.place))
        case .name(let name):
            guard !record.isNull(name) else { return }
            put(value.formattedStart)
            try record.writeXML(name, to: &output)
        }
        put(markup.formattedEndOfPair)
    }

    // MARK: The parties of an e-mail

    /// The expansion that reads the parties of an e-mail, and the columns of its rows.
    static func partyExpansion() throws(FieldsealError) -> (expansion: Expansion, columns: ResultColumns) {
        var query = RecordQuery()
        let names = ["participationtypemask", "partyid", "addressused", "partyidname", "activitypartyid", "activityid"]
        query.outputs = names.map { .init(.column(.init($0))) }
        let columns = try ResultColumns(&query, of: .activityParty)
        return (Expansion(partiesProperty, query), columns)
    }

    private static let partiesProperty = "email_activity_parties"

    private func writeParties(of record: Record, _ expanded: [ExpandedProperty], _ output: inout [UInt8]) throws {
        guard let property = expanded.first(where: { $0.name == Self.partiesProperty }) else { return }
        let parties = try property.records(of: record).records
        guard let shape = parties.first?.shape else { return }
        let columns = try Self.partyExpansion().columns
        let writer = RecordContracts(columns, shape, prefixes)
        let unnamed = RecordContracts(columns.without("partyidname"), shape, prefixes)
        for list in partyLists {
            guard let mask = PartyLists.masks.first(where: { $0.name == list })?.mask else { continue }
            let members = try parties.filter { try $0.value(of: "participationtypemask") == .int(mask) }
            guard !members.isEmpty else { continue }
            let (a, b) = (prefixes.xrm, prefixes.pairs)
            output.append(
                contentsOf:
                    "<\(a):KeyValuePairOfstringanyType><\(b):key>\(list)</\(b):key><\(b):value i:type=\"\(a):EntityCollection\">"
                    .utf8)
            try writer.collection(members, [], Page(), to: &output) { try Self.hasOwnName($0) ? writer : unnamed }
            output.append(contentsOf: "</\(b):value></\(a):KeyValuePairOfstringanyType>".utf8)
        }
    }

    /// Whether a party is only an address, and has a name other than the address.
    private static func hasOwnName(_ party: Record) throws -> Bool {
        let (name, address) = (try party.value(of: "partyidname"), try party.value(of: "addressused"))
        return try party.value(of: "partyid") == .null && address != .null && name != address
    }

    // MARK: Collections

    /// The members of an `EntityCollection` other than its records.
    struct Page {
        var cookie: String?
        var hasMore = false
        /// The number of rows on all pages; -1 if it was not requested.
        var total = -1
    }

    /// Appends the contents of an `EntityCollection`.
    ///
    /// - Parameter writer: Returns the writer for a record; nil to use this writer for all records.
    func collection(
        _ records: [Record], _ expanded: [ExpandedProperty], _ page: Page, to output: inout [UInt8],
        by writer: ((Record) throws -> RecordContracts)? = nil
    ) throws {
        let a = prefixes.xrm
        let (start, end) = (Array("<\(a):Entity>".utf8), Array("</\(a):Entity>".utf8))
        output.append(contentsOf: "<\(a):Entities>".utf8)
        for (index, record) in records.enumerated() {
            let before = output.count
            output.append(contentsOf: start)
            try (writer?(record) ?? self).write(record, expanded, to: &output)
            output.append(contentsOf: end)
            guard index == 0, records.count > 8 else { continue }
            let expected = before + (output.count - before) * records.count * 9 / 8
            if expected > 2 * output.capacity { output.reserveCapacity(expected) }
        }
        output.append(contentsOf: "</\(a):Entities><\(a):EntityName>\(entity.logicalName)</\(a):EntityName>".utf8)
        output.append(
            contentsOf: "<\(a):MinActiveRowVersion i:nil=\"true\"/><\(a):MoreRecords>\(page.hasMore)</\(a):MoreRecords>".utf8)
        if let cookie = page.cookie {
            output.append(contentsOf: "<\(a):PagingCookie>\(cookie.xmlEscaped)</\(a):PagingCookie>".utf8)
        } else {
            output.append(contentsOf: "<\(a):PagingCookie i:nil=\"true\"/>".utf8)
        }
        output.append(contentsOf: "<\(a):TotalRecordCount>\(page.total)</\(a):TotalRecordCount>".utf8)
        output.append(
            contentsOf: "<\(a):TotalRecordCountLimitExceeded>false</\(a):TotalRecordCountLimitExceeded>".utf8)
    }
}

extension String {
    /// The text escaped for an element.
    var xmlEscaped: String {
        var output: [UInt8] = []
        output.appendXML(self)
        return String(decoding: output, as: UTF8.self)
    }
}

extension [UInt8] {
    /// Appends an integer with commas as thousands separators.
    mutating func appendGrouped(_ number: Int64) {
        let digits = String(number.magnitude).utf8
        if number < 0 { append(UInt8(ascii: "-")) }
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { append(UInt8(ascii: ",")) }
            append(digit)
        }
    }

    /// Appends a date and time in UTC in the format of the United States, such as `11/26/2026 10:30 AM`.
    mutating func appendFormatted(_ date: Date) {
        let moment = CivilMoment(date)
        appendDecimal(moment.month)
        append(UInt8(ascii: "/"))
        appendDecimal(moment.day)
        append(UInt8(ascii: "/"))
        appendDecimal(moment.year)
        append(UInt8(ascii: " "))
        appendDecimal(moment.hour % 12 == 0 ? 12 : moment.hour % 12)
        append(UInt8(ascii: ":"))
        append(UInt8(ascii: "0") + UInt8(moment.minute / 10))
        append(UInt8(ascii: "0") + UInt8(moment.minute % 10))
        append(contentsOf: (moment.hour < 12 ? " AM" : " PM").utf8)
    }
}
