import Model
import Records

/// The markup around the values of a query's rows as `Entity` contracts, prepared once.
///
/// All markup is in one array, and each part is a range of it. So writing a row needs no reference counting.
struct RowMarkup: Sendable {
    /// One value of each row, as an attribute.
    struct Value: Sendable {
        let place: RowShape.Place
        let start: Range<Int>
        let end: Range<Int>
        /// The markup of a reference to a record; nil for other values.
        let reference: Reference?
        let formatted: Formatted
        /// The markup before the formatted value.
        let formattedStart: Range<Int>

        var isFormatted: Bool { if case .none = formatted { false } else { true } }
    }

    /// The parts of an `EntityReference` other than the id.
    struct Reference: Sendable {
        /// The indexes of the entity and the name of the referenced record.
        let kind: RowShape.Place?
        let name: RowShape.Place?
        /// The name of the lookup's first entity, which is written if the row does not have the name at ``kind``.
        let target: Range<Int>
    }

    /// The form of the formatted value. `label` has the range of ``labels`` in which this attribute's labels are.
    enum Formatted: Sendable {
        case none, label(Range<Int>), flag, number, date, name(RowShape.Place)
    }

    private(set) var bytes: [UInt8] = []
    private(set) var values: [Value] = []
    private(set) var labels: [(value: Int, text: Range<Int>)] = []

    private(set) var referenceKind = 0..<0
    private(set) var referenceName = 0..<0
    private(set) var referenceEnd = 0..<0
    private(set) var referenceUnnamed = 0..<0
    private(set) var entityStart = 0..<0
    private(set) var attributesEnd = 0..<0
    private(set) var formattedEnd = 0..<0
    private(set) var formattedEndOfPair = 0..<0
    private(set) var idEnd = 0..<0
    private(set) var rowVersionEnd = 0..<0
    private(set) var rowVersionNull = 0..<0

    init(_ result: ResultColumns, _ shape: RowShape, _ prefixes: RecordContracts.Prefixes) {
        let (a, b) = (prefixes.xrm, prefixes.pairs)
        referenceKind = add("</\(a):Id><\(a):KeyAttributes/><\(a):LogicalName>")
        referenceName = add("</\(a):LogicalName><\(a):Name>")
        referenceEnd = add("</\(a):Name><\(a):RowVersion i:nil=\"true\"/>")
        referenceUnnamed = add("</\(a):LogicalName><\(a):Name i:nil=\"true\"/><\(a):RowVersion i:nil=\"true\"/>")
        entityStart = add("<\(a):Attributes>")
        attributesEnd = add("</\(a):Attributes><\(a):EntityState i:nil=\"true\"/><\(a):FormattedValues>")
        formattedEnd = add("</\(a):FormattedValues><\(a):Id>")
        formattedEndOfPair = add("</\(b):value></\(a):KeyValuePairOfstringstring>")
        idEnd = add(
            "</\(a):Id><\(a):KeyAttributes/><\(a):LogicalName>\(result.entity.logicalName)</\(a):LogicalName>"
                + "<\(a):RelatedEntities/><\(a):RowVersion")
        rowVersionEnd = add("</\(a):RowVersion>")
        rowVersionNull = add(" i:nil=\"true\"/>")
        for column in result.columns { add(column, shape, prefixes) }
    }

    private mutating func add(_ text: String) -> Range<Int> {
        let start = bytes.count
        bytes.append(contentsOf: text.utf8)
        return start..<bytes.count
    }

    private mutating func add(_ column: ResultColumns.Column, _ shape: RowShape, _ p: RecordContracts.Prefixes) {
        let value = shape.columns[column.place]
        // Only a column of an encrypted attribute has no place, because such an attribute is never read.
        guard let place = value.place else { return }
        var (start, end) = Self.markup(value, p)
        if let (attribute, entity) = column.alias {
            let a = p.xrm
            var alias = "<\(p.pairs):value i:type=\"\(a):AliasedValue\">"
            alias += "<\(a):AttributeLogicalName>\(attribute.xmlEscaped)</\(a):AttributeLogicalName>"
            alias += "<\(a):EntityLogicalName>\(entity)</\(a):EntityLogicalName>"
            alias += "<\(a):NeedFormatting>false</\(a):NeedFormatting><\(a):ReturnType>0</\(a):ReturnType>"
            start = "\(alias)<\(a):Value\(start)"
            end += "</\(a):Value></\(p.pairs):value></\(a):KeyValuePairOfstringanyType>"
        } else {
            start = "<\(p.pairs):value\(start)"
            end += "</\(p.pairs):value></\(p.xrm):KeyValuePairOfstringanyType>"
        }
        let key = column.key.xmlEscaped
        let name = column.namePlace.flatMap { shape.columns[$0].place }
        let isReference = value.type.isReference
        values.append(
            Value(
                place: place, start: add("<\(p.xrm):KeyValuePairOfstringanyType><\(p.pairs):key>\(key)</\(p.pairs):key>\(start)"),
                end: add(end),
                reference: isReference
                    ? Reference(
                        kind: column.typePlace.flatMap { shape.columns[$0].place }, name: name,
                        target: add(value.type.soleTarget ?? value.type.targets.first ?? "")) : nil,
                formatted: formatted(value, name),
                formattedStart: add(
                    "<\(p.xrm):KeyValuePairOfstringstring><\(p.pairs):key>\(key)</\(p.pairs):key><\(p.pairs):value>")))
    }

    /// The markup between an element's name and its value, and after the value.
    private static func markup(_ value: RowShape.Column, _ p: RecordContracts.Prefixes) -> (start: String, end: String) {
        func typed(_ type: String) -> (String, String) { (" i:type=\"\(p.schema):\(type)\">", "") }
        switch value.type {
        case .string, .memo, .entityName: return typed("string")
        case .boolean: return typed("boolean")
        case .integer: return typed("int")
        case .bigInt: return typed(value.attribute == nil ? "int" : "long")
        case .decimal: return typed("decimal")
        case .dateTime: return typed("dateTime")
        case .image: return typed("base64Binary")
        case .uniqueIdentifier: return (" i:type=\"\(p.schema):guid\" xmlns:\(p.schema)=\"\(Contract.serialization)\">", "")
        case .picklist, .state, .status:
            return (" i:type=\"\(p.xrm):OptionSetValue\"><\(p.xrm):Value>", "</\(p.xrm):Value>")
        case .lookup, .owner: return (" i:type=\"\(p.xrm):EntityReference\"><\(p.xrm):Id>", "")
        }
    }

    private mutating func formatted(_ column: RowShape.Column, _ name: RowShape.Place?) -> Formatted {
        switch column.type {
        case .picklist(let options), .state(let options), .status(let options):
            let first = labels.count
            for (value, label) in options.options { labels.append((Int(value), add(label.xmlEscaped))) }
            return .label(first..<labels.count)
        case .boolean: return .flag
        case .integer, .bigInt: return column.attribute?.logicalName == "versionnumber" ? .none : .number
        case .dateTime: return .date
        case .lookup, .owner: return name.map { .name($0) } ?? .none
        default: return .none
        }
    }
}
