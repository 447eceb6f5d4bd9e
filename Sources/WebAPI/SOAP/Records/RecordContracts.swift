import Foundation
import JSON
import Model
import Records

/// Writes rows of a query as `Entity` contracts, straight from the bytes that PostgreSQL sent.
struct RecordContracts: Sendable {
    /// The prefixes that are in force where the rows are written.
    struct Prefixes: Sendable, Equatable {
        /// Of the contracts, of pairs, and of XML Schema.
        var xrm = "a"
        var pairs = "b"
        var schema = "c"
    }

    private let columns: [Column]
    private let entity: EntityDefinition
    private let shape: RowShape
    private let idPlace: Int?
    private let prefixes: Prefixes
    private let partyLists: [String]
    private let markup: Markup

    /// Markup around a value, which is the same in each row.
    private struct Column {
        let column: RowShape.Column
        let start: [UInt8]
        let end: [UInt8]
        let name: RowShape.Column?
        let kind: RowShape.Column?
        /// The entity that a reference refers to, where it can be one only.
        let target: String
        let formatted: Formatted
        let key: [UInt8]
    }

    private enum Formatted {
        case none, label([Int64: [UInt8]]), flag, number, date, name
    }

    private struct Markup {
        let entityStart: [UInt8]
        let attributesEnd: [UInt8]
        let formattedEnd: [UInt8]
        let idEnd: [UInt8]
        let rowVersionEnd: [UInt8]
        let rowVersionNull: [UInt8]
        let formattedStart: [UInt8]
        let formattedMiddle: [UInt8]
        let formattedPairEnd: [UInt8]

        init(_ p: Prefixes, _ entity: String) {
            let (a, b) = (p.xrm, p.pairs)
            entityStart = Array("<\(a):Attributes>".utf8)
            attributesEnd = Array("</\(a):Attributes><\(a):EntityState i:nil=\"true\"/><\(a):FormattedValues>".utf8)
            formattedEnd = Array("</\(a):FormattedValues><\(a):Id>".utf8)
            idEnd = Array(
                "</\(a):Id><\(a):KeyAttributes/><\(a):LogicalName>\(entity)</\(a):LogicalName><\(a):RelatedEntities/><\(a):RowVersion"
                    .utf8)
            rowVersionEnd = Array("</\(a):RowVersion>".utf8)
            rowVersionNull = Array(" i:nil=\"true\"/>".utf8)
            formattedStart = Array("<\(a):KeyValuePairOfstringstring><\(b):key>".utf8)
            formattedMiddle = Array("</\(b):key><\(b):value>".utf8)
            formattedPairEnd = Array("</\(b):value></\(a):KeyValuePairOfstringstring>".utf8)
        }
    }

    init(_ result: ResultColumns, _ shape: RowShape, _ prefixes: Prefixes) {
        entity = result.entity
        self.shape = shape
        self.prefixes = prefixes
        idPlace = result.idPlace
        partyLists = result.partyLists
        markup = Markup(prefixes, result.entity.logicalName)
        columns = result.columns.map { Self.column($0, shape, prefixes) }
    }

    private static func column(_ column: ResultColumns.Column, _ shape: RowShape, _ p: Prefixes) -> Column {
        let value = shape.columns[column.place]
        let pairStart = "<\(p.xrm):KeyValuePairOfstringanyType><\(p.pairs):key>\(column.key.xmlEscaped)</\(p.pairs):key>"
        var (start, end) = ("", "")
        let isCounted = value.attribute == nil
        switch value.type {
        case .string, .memo, .entityName: start = " i:type=\"\(p.schema):string\">"
        case .boolean: start = " i:type=\"\(p.schema):boolean\">"
        case .integer: start = " i:type=\"\(p.schema):int\">"
        case .bigInt: start = " i:type=\"\(p.schema):\(isCounted ? "int" : "long")\">"
        case .decimal: start = " i:type=\"\(p.schema):decimal\">"
        case .dateTime: start = " i:type=\"\(p.schema):dateTime\">"
        case .image: start = " i:type=\"\(p.schema):base64Binary\">"
        case .uniqueIdentifier:
            start = " i:type=\"\(p.schema):guid\" xmlns:\(p.schema)=\"\(Contract.serialization)\">"
        case .picklist, .state, .status:
            (start, end) = (" i:type=\"\(p.xrm):OptionSetValue\"><\(p.xrm):Value>", "</\(p.xrm):Value>")
        case .lookup, .owner: start = " i:type=\"\(p.xrm):EntityReference\"><\(p.xrm):Id>"
        }
        if let (attribute, entity) = column.alias {
            let a = p.xrm
            var alias = "<\(p.pairs):value i:type=\"\(a):AliasedValue\">"
            alias += "<\(a):AttributeLogicalName>\(attribute.xmlEscaped)</\(a):AttributeLogicalName>"
            alias += "<\(a):EntityLogicalName>\(entity)</\(a):EntityLogicalName>"
            alias += "<\(a):NeedFormatting>false</\(a):NeedFormatting><\(a):ReturnType>0</\(a):ReturnType>"
            start = "\(alias)<\(a):Value\(start)"
            end += "</\(p.xrm):Value></\(p.pairs):value></\(p.xrm):KeyValuePairOfstringanyType>"
        } else {
            start = "<\(p.pairs):value\(start)"
            end += "</\(p.pairs):value></\(p.xrm):KeyValuePairOfstringanyType>"
        }
        return Column(
            column: value, start: Array((pairStart + start).utf8), end: Array(end.utf8),
            name: column.namePlace.map { shape.columns[$0] }, kind: column.typePlace.map { shape.columns[$0] },
            target: value.type.targets.first ?? "", formatted: formatted(value, hasName: column.namePlace != nil),
            key: Array(column.key.xmlEscaped.utf8))
    }

    private static func formatted(_ column: RowShape.Column, hasName: Bool) -> Formatted {
        switch column.type {
        case .picklist(let labels), .state(let labels), .status(let labels):
            .label(texts(labels))
        case .boolean: .flag
        case .integer, .bigInt: column.attribute?.logicalName == "versionnumber" ? .none : .number
        case .dateTime: .date
        case .lookup, .owner: hasName ? .name : .none
        default: .none
        }
    }

    private static func texts(_ labels: OptionLabels) -> [Int64: [UInt8]] {
        var texts: [Int64: [UInt8]] = [:]
        for (value, label) in labels.options { texts[value] = Array(label.xmlEscaped.utf8) }
        return texts
    }

    /// Appends what an `Entity` of the row holds.
    func write(_ record: Record, _ expanded: [ExpandedProperty], to output: inout [UInt8]) throws {
        output.append(contentsOf: markup.entityStart)
        for column in columns where !record.isNull(column.column) {
            output.append(contentsOf: column.start)
            try record.writeXML(column.column, to: &output)
            if column.column.type.isReference { try endReference(column, record, &output) }
            output.append(contentsOf: column.end)
        }
        if !partyLists.isEmpty { try writeParties(of: record, expanded, &output) }
        output.append(contentsOf: markup.attributesEnd)
        for column in columns where !record.isNull(column.column) { try writeFormatted(column, record, &output) }
        output.append(contentsOf: markup.formattedEnd)
        if let idPlace, !record.isNull(shape.columns[idPlace]) {
            try record.writeXML(shape.columns[idPlace], to: &output)
        } else {
            output.append(record.id)
        }
        output.append(contentsOf: markup.idEnd)
        if shape.hasRecords {
            output.append(UInt8(ascii: ">"))
            output.appendDecimal(Int(record.versionNumber))
            output.append(contentsOf: markup.rowVersionEnd)
        } else {
            output.append(contentsOf: markup.rowVersionNull)
        }
    }

    private func endReference(_ column: Column, _ record: Record, _ output: inout [UInt8]) throws {
        let a = prefixes.xrm
        output.append(contentsOf: "</\(a):Id><\(a):KeyAttributes/><\(a):LogicalName>".utf8)
        if let kind = column.kind, !record.isNull(kind) {
            try record.writeXML(kind, to: &output)
        } else {
            output.append(contentsOf: column.target.utf8)
        }
        output.append(contentsOf: "</\(a):LogicalName>".utf8)
        if let name = column.name, !record.isNull(name) {
            output.append(contentsOf: "<\(a):Name>".utf8)
            try record.writeXML(name, to: &output)
            output.append(contentsOf: "</\(a):Name>".utf8)
        } else {
            output.append(contentsOf: "<\(a):Name i:nil=\"true\"/>".utf8)
        }
        output.append(contentsOf: "<\(a):RowVersion i:nil=\"true\"/>".utf8)
    }

    // MARK: Formatted values

    private func writeFormatted(_ column: Column, _ record: Record, _ output: inout [UInt8]) throws {
        func pair(_ body: (inout [UInt8]) throws -> Void) rethrows {
            output.append(contentsOf: markup.formattedStart)
            output.append(contentsOf: column.key)
            output.append(contentsOf: markup.formattedMiddle)
            try body(&output)
            output.append(contentsOf: markup.formattedPairEnd)
        }
        switch column.formatted {
        case .none: return
        case .label(let labels):
            guard case .int(let number) = try record.value(column.column), let label = labels[number] else { return }
            pair { $0.append(contentsOf: label) }
        case .flag:
            guard case .bool(let flag) = try record.value(column.column) else { return }
            pair { $0.append(contentsOf: (flag ? "Yes" : "No").utf8) }
        case .number:
            guard case .int(let number) = try record.value(column.column) else { return }
            pair { $0.appendGrouped(number) }
        case .date:
            guard case .date(let date) = try record.value(column.column) else { return }
            pair { $0.appendFormatted(date) }
        case .name:
            guard let name = column.name, !record.isNull(name) else { return }
            try pair { try record.writeXML(name, to: &$0) }
        }
    }

    // MARK: The parties of an e-mail

    /// The parties' attributes that are given, and how they are asked for.
    static func partyExpansion() throws(FieldsealError) -> (expansion: Expansion, columns: ResultColumns) {
        var query = RecordQuery()
        query.outputs = ["participationtypemask", "partyid", "addressused", "activitypartyid", "activityid"].map {
            .init(.column(.init($0)))
        }
        let columns = try ResultColumns(&query, of: .activityParty)
        return (Expansion(partiesProperty, query), columns)
    }

    private static let partiesProperty = "email_activity_parties"

    private func writeParties(of record: Record, _ expanded: [ExpandedProperty], _ output: inout [UInt8]) throws {
        guard let property = expanded.first(where: { $0.name == Self.partiesProperty }) else { return }
        let parties = try property.records(of: record).records
        guard let shape = parties.first?.shape else { return }
        let writer = RecordContracts(try Self.partyExpansion().columns, shape, prefixes)
        for list in partyLists {
            guard let mask = PartyLists.masks.first(where: { $0.name == list })?.mask else { continue }
            let members = try parties.filter { try $0.value(of: "participationtypemask") == .int(mask) }
            guard !members.isEmpty else { continue }
            let (a, b) = (prefixes.xrm, prefixes.pairs)
            output.append(
                contentsOf:
                    "<\(a):KeyValuePairOfstringanyType><\(b):key>\(list)</\(b):key><\(b):value i:type=\"\(a):EntityCollection\">"
                    .utf8)
            try writer.collection(members, [], Page(), to: &output)
            output.append(contentsOf: "</\(b):value></\(a):KeyValuePairOfstringanyType>".utf8)
        }
    }

    // MARK: Collections

    /// What an `EntityCollection` says besides its records.
    struct Page {
        var cookie: String?
        var hasMore = false
        /// Rows of all pages; -1 where nothing asked for it.
        var total = -1
    }

    /// Appends what an `EntityCollection` holds.
    func collection(_ records: [Record], _ expanded: [ExpandedProperty], _ page: Page, to output: inout [UInt8]) throws {
        let a = prefixes.xrm
        let (start, end) = (Array("<\(a):Entity>".utf8), Array("</\(a):Entity>".utf8))
        output.append(contentsOf: "<\(a):Entities>".utf8)
        for (index, record) in records.enumerated() {
            let before = output.count
            output.append(contentsOf: start)
            try write(record, expanded, to: &output)
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
    /// The text as it stands in an element.
    var xmlEscaped: String {
        var output: [UInt8] = []
        output.appendXML(self)
        return String(decoding: output, as: UTF8.self)
    }
}

extension [UInt8] {
    /// Appends an integer with commas between its thousands.
    mutating func appendGrouped(_ number: Int64) {
        let digits = String(number.magnitude).utf8
        if number < 0 { append(UInt8(ascii: "-")) }
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { append(UInt8(ascii: ",")) }
            append(digit)
        }
    }

    /// Appends a date and time in UTC as people in the United States write it, such as `11/26/2026 10:30 AM`.
    mutating func appendFormatted(_ date: Date) {
        var text: [UInt8] = []
        text.append(date)
        guard text.count == 20 else { return append(contentsOf: text) }
        func number(_ range: Range<Int>) -> Int { text[range].reduce(0) { $0 * 10 + Int($1) - 48 } }
        let hour = number(11..<13)
        appendDecimal(number(5..<7))
        append(UInt8(ascii: "/"))
        appendDecimal(number(8..<10))
        append(UInt8(ascii: "/"))
        appendDecimal(number(0..<4))
        append(UInt8(ascii: " "))
        appendDecimal(hour % 12 == 0 ? 12 : hour % 12)
        append(contentsOf: text[13..<16])
        append(contentsOf: (hour < 12 ? " AM" : " PM").utf8)
    }
}
