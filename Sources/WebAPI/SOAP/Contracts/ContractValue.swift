import Foundation
import JSON
import Model
import Records

/// A value in a request, with the type that `i:type` names.
enum ContractValue: Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// A number other than an integer, as JSON writes it.
    case number(String)
    case text(String)
    /// A date and time as the client wrote it.
    case date(String)
    case id(UUID)
    /// Bytes in base64.
    case bytes(String)
    case option(Int64)
    case reference(ContractReference)
    case entities([ContractEntity])
    case list([ContractValue])
    /// A value of a type that only some parameters accept.
    case other(XMLElement)

    /// - Parameters:
    ///   - name: The name of the value, for a message.
    /// - Throws: ``FieldsealError`` naming the value, for an unknown type and for a text that is not of its type. The error never
    ///   quotes the text.
    init(_ element: XMLElement, of name: String) throws(FieldsealError) {
        if element.isNil {
            self = .null
            return
        }
        guard let type = element.type else {
            throw FieldsealError(.payloadDoesNotFit, "The value of \(name.quotedForFault) has no i:type.")
        }
        switch type.namespace {
        case XMLNamespace.schema: self = try Self.simple(element, type.local, name)
        case Contract.serialization where type.local == "guid": self = try Self.simple(element, "guid", name)
        case Contract.arrays where type.local.hasPrefix("ArrayOf"): self = .list(try Self.elements(element, type.local, name))
        case Contract.xrm: self = try Self.contract(element, type.local, name)
        case _ where Contract.isContract(type.namespace): self = .other(element)
        default: throw Self.unknown(type.local, name)
        }
    }

    private static func unknown(_ type: String, _ name: String) -> FieldsealError {
        FieldsealError(
            .payloadDoesNotFit, "The value of \(name.quotedForFault) has the type \(type.quotedForFault), which is not known.")
    }

    private static func simple(_ element: XMLElement, _ type: String, _ name: String) throws(FieldsealError) -> ContractValue {
        func mismatch() -> FieldsealError {
            FieldsealError(.payloadDoesNotFit, "The value of \(name.quotedForFault) is not of its type, \(type).")
        }
        guard !element.hasChildren else { throw mismatch() }
        let text = element.text
        let trimmed = String(text.trimmed)
        switch type {
        case "string", "anyURI": return .text(text)
        case "boolean":
            guard let flag = element.bool else { throw mismatch() }
            return .bool(flag)
        case "int", "short", "byte", "unsignedByte", "unsignedShort", "unsignedInt", "long", "integer":
            let range: ClosedRange<Int64> =
                type == "int" ? Int64(Int32.min)...Int64(Int32.max) : Int64.min...Int64.max
            guard let number = Int64(trimmed), range.contains(number) else { throw mismatch() }
            return .integer(number)
        case "decimal", "double", "float":
            let digits = trimmed.hasPrefix("+") ? String(trimmed.dropFirst()) : trimmed
            if let number = Int64(digits) { return .integer(number) }
            guard digits.count <= 100, digits.wholeMatch(of: /-?\d+(\.\d+)?([eE][+-]?\d{1,3})?/) != nil else { throw mismatch() }
            return .number(digits)
        case "dateTime", "date":
            guard ISO8601.date(trimmed) != nil else { throw mismatch() }
            return .date(trimmed)
        case "guid":
            guard let id = UUID(clientText: trimmed) else { throw mismatch() }
            return .id(id)
        case "base64Binary":
            let base64 = text.filter { !$0.isWhitespace }
            guard Data(base64Encoded: base64) != nil else { throw mismatch() }
            return .bytes(base64)
        default: throw unknown(type, name)
        }
    }

    /// The elements of an array such as `ArrayOfguid`. The type of the array determines the type of its elements.
    private static func elements(_ element: XMLElement, _ type: String, _ name: String) throws(FieldsealError) -> [ContractValue] {
        let inner = String(type.dropFirst("ArrayOf".count))
        var values: [ContractValue] = []
        for child in element.children {
            values.append(
                child.isNil || inner == "anyType" ? try ContractValue(child, of: name) : try simple(child, inner, name))
        }
        return values
    }

    private static func contract(_ element: XMLElement, _ type: String, _ name: String) throws(FieldsealError) -> ContractValue {
        switch type {
        case "OptionSetValue":
            let members = try ContractMembers(element, of: type, ["Value"])
            guard let value = try members.int("Value") else { throw members.mismatch("Value", "the number of an option") }
            return .option(Int64(value))
        case "EntityReference": return .reference(try ContractReference(element))
        case "Entity": return .entities([try ContractEntity(element)])
        case "EntityCollection": return .entities(try ContractEntity.collection(element))
        case "EntityReferenceCollection":
            var references: [ContractValue] = []
            for child in element.children { references.append(.reference(try ContractReference(child))) }
            return .list(references)
        case "Money", "AliasedValue", "OptionSetValueCollection", "BooleanManagedProperty":
            throw FieldsealError(
                .payloadDoesNotFit, "The value of \(name.quotedForFault) is of the type \(type), which no attribute here takes.")
        default: return .other(element)
        }
    }

    /// The value in a condition; nil for a type that conditions do not accept.
    var literal: Literal? {
        switch self {
        case .null: .null
        case .bool(let flag): .bool(flag)
        case .integer(let number), .option(let number): .number(String(number))
        case .number(let text): .number(text)
        case .text(let text), .date(let text): .text(text)
        case .id(let id): .text(id.text)
        case .reference(let reference): reference.id.map { .text($0.text) }
        case .bytes, .entities, .list, .other: nil
        }
    }

    /// The name of the value's type in the contract, for an error text.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer: "an integer"
        case .number: "a number"
        case .text: "a string"
        case .date: "a dateTime"
        case .id: "a guid"
        case .bytes: "base64Binary"
        case .option: "an OptionSetValue"
        case .reference: "an EntityReference"
        case .entities: "an EntityCollection"
        case .list: "an array"
        case .other(let element): "a value of the type \((element.type?.local ?? "").quotedForFault)"
        }
    }
}

extension UUID {
    /// Parses an id as .NET's clients write it: with hyphens, and with or without braces.
    init?(clientText text: String) {
        self.init(text: text.hasPrefix("{") && text.hasSuffix("}") ? String(text.dropFirst().dropLast()) : text)
    }

    /// The id; nil for the empty id.
    var unlessEmpty: UUID? { text == Contract.emptyID ? nil : self }
}
