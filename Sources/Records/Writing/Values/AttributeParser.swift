import Foundation
import JSON
import Model

/// Parses a JSON value as the value of one attribute.
struct AttributeParser {
    let attribute: AttributeDefinition

    init(_ attribute: AttributeDefinition) {
        self.attribute = attribute
    }

    /// - Throws: ``FieldsealError`` saying what the attribute accepts.
    func value(_ json: JSONValue) throws(FieldsealError) -> AttributeValue {
        switch (attribute.type, json) {
        case (_, .null): return .null
        case (.string(let limit), .string(let text)), (.memo(let limit), .string(let text)):
            // As in Dataverse, an empty text becomes null.
            guard !text.isEmpty else { return .null }
            let checked = try text.checked(limit, attribute)
            if attribute.logicalName == "mimetype" { try MediaTypeRule.check(checked) }
            if attribute.logicalName == "body" { try AttachmentRule.check(checked) }
            try MailSettingRule.check(checked, attribute)
            return .text(checked)
        case (.entityName, .string(let text)):
            try text.checkCharacters(attribute)
            return .text(text)
        case (.boolean, .bool(let flag)): return .bool(flag)
        case (.integer(let range), .integer(let number)):
            guard range.contains(number) else {
                throw FieldsealError(
                    .invalidArgument, "\(attribute.logicalName) takes \(range.lowerBound) to \(range.upperBound).")
            }
            return .int(number)
        case (.bigInt, .integer(let number)): return .int(number)
        case (.picklist(let options), .integer(let number)), (.state(let options), .integer(let number)),
            (.status(let options), .integer(let number)):
            guard options.contains(number) else {
                let known = options.options.map { "\($0.value) (\($0.label))" }.joined(separator: ", ")
                throw FieldsealError(.invalidArgument, "\(attribute.logicalName) takes one of \(known).")
            }
            return .int(number)
        case (.decimal, .integer(let number)): return .decimal(String(number))
        case (.decimal, .number(let text)): return .decimal(text)
        case (.dateTime, .string(let text)):
            if let date = ISO8601.date(text) {
                guard date >= ISO8601.ofRecords.lowerBound else {
                    throw FieldsealError(.invalidArgument, "\(attribute.logicalName) takes dates from 1753-01-01 on.")
                }
                // In UTC, a date with an offset may be after the last year that can be written.
                guard date < ISO8601.ofRecords.upperBound else {
                    throw FieldsealError(.invalidArgument, "\(attribute.logicalName) takes dates up to 9999-12-31 in UTC.")
                }
                // The date is rounded down to the second, as clients read it.
                return .date(Date(timeIntervalSince1970: date.timeIntervalSince1970.rounded(.down)))
            }
        case (.uniqueIdentifier, .string(let text)), (.lookup, .string(let text)), (.owner, .string(let text)):
            if let id = UUID(text: text) { return .id(id) }
        case (.image, .string(let text)):
            guard !text.isEmpty else { return .null }
            if let bytes = Data(base64Encoded: text) {
                try PictureFormat.check(Array(bytes), attribute)
                return .bytes(Array(bytes))
            }
        default: break
        }
        throw mismatch(json)
    }

    /// A value to encrypt, or nil to clear. Null and the empty string both clear the attribute.
    ///
    /// - Throws: ``FieldsealError`` that quotes no part of the value.
    func secret(_ json: JSONValue) throws(FieldsealError) -> String? {
        guard case .string(let limit) = attribute.type else { throw mismatch(json) }
        switch json {
        case .null: return nil
        case .string(let text):
            try text.checkLength(limit, attribute)
            // PostgreSQL's own decryption, which recovery uses, can't return the character U+0000.
            try text.checkCharacters(attribute)
            return text.isEmpty ? nil : text
        default: throw mismatch(json)
        }
    }

    private func mismatch(_ json: JSONValue) -> FieldsealError {
        let isWritten =
            switch (attribute.type, json) {
            case (.dateTime, .string), (.uniqueIdentifier, .string), (.lookup, .string), (.owner, .string), (.image, .string): true
            default: false
            }
        let (name, expectation) = (attribute.logicalName, attribute.type.expectation)
        if case .number = json, attribute.type.isWhole {
            return FieldsealError(
                .payloadDoesNotFit,
                "\(name) takes \(expectation), written without a decimal point or an exponent, with at most 19 digits.")
        }
        return FieldsealError(
            .payloadDoesNotFit,
            isWritten
                ? "\(name) takes \(expectation), and this text is not valid." : "\(name) takes \(expectation), not \(json.kind).")
    }
}

extension String {
    fileprivate func checked(_ limit: Int, _ attribute: AttributeDefinition) throws(FieldsealError) -> String {
        try checkLength(limit, attribute)
        try checkCharacters(attribute)
        return self
    }

    fileprivate func checkCharacters(_ attribute: AttributeDefinition) throws(FieldsealError) {
        guard !utf8.contains(0) else {
            throw FieldsealError(.invalidArgument, "\(attribute.logicalName) can't hold the character U+0000.")
        }
    }

    fileprivate func checkLength(_ limit: Int, _ attribute: AttributeDefinition) throws(FieldsealError) {
        guard utf16.count <= limit else {
            throw FieldsealError(
                .stringLengthTooLong,
                "\(attribute.logicalName) takes at most \(limit) characters, and this value has \(utf16.count).")
        }
    }
}

extension AttributeType {
    fileprivate var isWhole: Bool {
        switch self {
        case .picklist, .state, .status, .integer, .bigInt: true
        default: false
        }
    }

    fileprivate var expectation: String {
        switch self {
        case .string, .memo, .entityName: "a string"
        case .picklist, .state, .status: "the number of an option, which is an integer"
        case .boolean: "true or false"
        case .integer, .bigInt: "an integer"
        case .decimal: "a number"
        case .dateTime: "a date and time, such as 2026-01-31T12:00:00Z"
        case .lookup, .owner, .uniqueIdentifier: "an id"
        case .image: "a picture in base64"
        }
    }
}
