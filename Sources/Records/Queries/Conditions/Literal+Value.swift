import Foundation
import JSON
import Model
import PostgresClient

extension AttributeType {
    /// Kinds of comparable types. Each kind is named after a type of PostgreSQL.
    enum Kind: String {
        case text
        case integer = "int8"
        case boolean = "bool"
        case decimal = "numeric"
        case date = "timestamptz"
        case id = "uuid"
        case bytes = "bytea"
    }

    var kind: Kind {
        switch self {
        case .string, .memo, .entityName: .text
        case .picklist, .state, .status, .integer, .bigInt: .integer
        case .boolean: .boolean
        case .decimal: .decimal
        case .dateTime: .date
        case .lookup, .owner, .uniqueIdentifier: .id
        case .image: .bytes
        }
    }

    /// Parses a literal as a value of this type. FetchXML and SQL write most literals as texts.
    ///
    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` saying what the attribute is compared with. The message quotes no literal.
    func value(of literal: Literal, for attribute: AttributeDefinition) throws(FieldsealError) -> AttributeValue {
        if let value = value(of: literal) { return value }
        if case .text(let text) = literal, text.utf8.contains(0) {
            throw FieldsealError(.queryDoesNotFit, "\(attribute.logicalName) can't hold the character U+0000.")
        }
        throw FieldsealError(.queryDoesNotFit, "\(attribute.logicalName) is compared with \(kind.expectation).")
    }

    private func value(of literal: Literal) -> AttributeValue? {
        switch (kind, literal) {
        case (_, .null): .null
        case (.text, .text(let text)): text.utf8.contains(0) ? nil : .text(text)
        case (.text, .number(let text)): .text(text)
        case (.integer, .number(let text)), (.integer, .text(let text)): Int64(text).map(AttributeValue.int)
        case (.boolean, .bool(let flag)): .bool(flag)
        case (.boolean, .number(let text)), (.boolean, .text(let text)):
            switch text.lowercased() {
            case "1", "true": .bool(true)
            case "0", "false": .bool(false)
            default: nil
            }
        case (.decimal, .number(let text)), (.decimal, .text(let text)): Self.isDecimal(text) ? .decimal(text) : nil
        case (.date, .text(let text)): ISO8601.date(text).map(AttributeValue.date)
        case (.id, .text(let text)):
            UUID(text: text.hasPrefix("{") && text.hasSuffix("}") ? String(text.dropFirst().dropLast()) : text)
                .map(AttributeValue.id)
        default: nil
        }
    }

    /// Digits with at most one point, and an exponent of at most three digits.
    static func isDecimal(_ text: String) -> Bool {
        text.count <= 100 && text.wholeMatch(of: /[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?/) != nil
    }
}

extension AttributeType.Kind {
    var expectation: String {
        switch self {
        case .text: "a text in quotes"
        case .integer: "an integer"
        case .boolean: "true or false"
        case .decimal: "a number"
        case .date: "a date and time, such as 2026-01-31T12:00:00Z"
        case .id: "an id"
        case .bytes: "nothing: it is a picture"
        }
    }
}

extension AttributeValue {
    /// The value as text for PostgreSQL.
    var plainText: String {
        switch self {
        case .null, .bytes: ""
        case .text(let text), .decimal(let text): text
        case .int(let number): String(number)
        case .bool(let flag): String(flag)
        case .date(let date): ISO8601.text(date)
        case .id(let id): id.text
        }
    }
}

extension StatementBuilder {
    /// Adds a value as a parameter, and returns its expression.
    mutating func bind(_ value: AttributeValue, _ type: AttributeType) -> String {
        switch value {
        case .text(let text): "lower(\(bind(.text(text))))"
        case .int(let number): bind(.int64(number))
        case .decimal(let text): "\(bind(.text(text)))::numeric"
        default: bind(type.parameter(value))
        }
    }
}
