import Foundation
import JSON
import Model
import Records

/// Parses `$filter` (OData 4.0 Part 2, section 5.1.1, and Dataverse's query functions).
struct FilterParser {
    fileprivate var lexer: ExpressionLexer
    fileprivate let aliases: [String: String]
    /// Whether the parsed text is the value of a parameter alias.
    private var isAlias = false
    private var variables: [String] = []
    private var depth = 0
    private var count = 0

    private static let depthLimit = 50
    private static let countLimit = 500
    private static let stepLimit = 10

    /// - Parameter aliases: The values of parameter aliases, by name without `@`.
    init(_ text: String, aliases: [String: String] = [:]) throws(FieldsealError) {
        lexer = try ExpressionLexer(text)
        self.aliases = aliases
    }

    /// Parses the whole text as a condition.
    static func parse(_ text: String, aliases: [String: String] = [:]) throws(FieldsealError) -> Filter {
        var parser = try FilterParser(text, aliases: aliases)
        let filter = try parser.or()
        guard parser.lexer.token == .end else { throw parser.lexer.unexpected("'and' or 'or'") }
        return filter
    }

    private mutating func or() throws(FieldsealError) -> Filter {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthLimit else { throw Self.tooDeep }
        var parts = [try and()]
        while try lexer.take(word: "or") { parts.append(try and()) }
        return parts.count == 1 ? parts[0] : .any(parts)
    }

    private static var tooDeep: FieldsealError {
        FieldsealError(.queryDoesNotFit, "An expression may be nested at most \(depthLimit) levels deep.")
    }

    private mutating func and() throws(FieldsealError) -> Filter {
        var parts = [try unary()]
        while try lexer.take(word: "and") { parts.append(try unary()) }
        return parts.count == 1 ? parts[0] : .all(parts)
    }

    private mutating func unary() throws(FieldsealError) -> Filter {
        if try lexer.take(word: "not") {
            depth += 1
            defer { depth -= 1 }
            guard depth <= Self.depthLimit else { throw Self.tooDeep }
            return .not(try unary())
        }
        if try lexer.take("(") {
            let inner = try or()
            try lexer.require(")")
            return inner
        }
        count += 1
        guard count <= Self.countLimit else {
            throw FieldsealError(.queryDoesNotFit, "An expression has more than \(Self.countLimit) conditions.")
        }
        return try comparison()
    }

    fileprivate enum Operand {
        case column(RecordQuery.Column)
        case literal(Literal)
        case condition(Filter)
    }

    private mutating func comparison() throws(FieldsealError) -> Filter {
        let left = try operand()
        if case .condition(let filter) = left {
            // A condition may be compared with true or false, as in `contains(name,'a') eq true`.
            if try lexer.take(word: "eq") { return try isTrue() ? filter : .not(filter) }
            if try lexer.take(word: "ne") { return try isTrue() ? .not(filter) : filter }
            return filter
        }
        guard case .word(let word) = lexer.token, !["and", "or"].contains(word.lowercased()) else {
            switch left {
            case .column(let column): return .compare(column, .equal, .bool(true))
            case .literal(.bool(let value)): return .constant(value)
            default: throw lexer.unexpected("comparison such as eq")
            }
        }
        try lexer.advance()
        if word.lowercased() == "in" { return try list(left) }
        let comparisons: [String: Filter.Comparison] = [
            "eq": .equal, "ne": .notEqual, "gt": .greater, "ge": .greaterOrEqual, "lt": .less, "le": .lessOrEqual,
        ]
        guard let comparison = comparisons[word.lowercased()] else {
            throw FieldsealError(.queryDoesNotFit, "There is no operator \(word.prefix(20).debugDescription) in $filter.")
        }
        return try compared(left, comparison, try operand())
    }

    private func compared(_ left: Operand, _ comparison: Filter.Comparison, _ right: Operand) throws(FieldsealError) -> Filter {
        switch (left, right) {
        case (.column(let column), .literal(let value)): return .compare(column, comparison, value)
        case (.column(let left), .column(let right)): return .compareColumns(left, comparison, right)
        case (.literal(let value), .column(let column)): return .compare(column, comparison.flipped, value)
        case (.literal(let left), .literal(let right)) where comparison == .equal: return .constant(left == right)
        case (.literal(let left), .literal(let right)) where comparison == .notEqual: return .constant(left != right)
        default: throw FieldsealError(.queryDoesNotFit, "A comparison in $filter needs an attribute on one side.")
        }
    }

    private mutating func isTrue() throws(FieldsealError) -> Bool {
        switch try lexer.requireWord("true or false").lowercased() {
        case "true": return true
        case "false": return false
        default: throw FieldsealError(.queryDoesNotFit, "A condition can be compared only with true or false.")
        }
    }

    private mutating func list(_ left: Operand) throws(FieldsealError) -> Filter {
        guard case .column(let column) = left else { throw lexer.unexpected("attribute before 'in'") }
        if case .alias(let name) = lexer.token {
            try lexer.advance()
            return .isIn(column, try list(ofAlias: name))
        }
        try lexer.require("(")
        var values: [Literal] = []
        repeat {
            guard case .literal(let value) = try operand() else { throw lexer.unexpected("list of literals") }
            try Condition.add(value, to: &values)
        } while try lexer.take(",")
        try lexer.require(")")
        return .isIn(column, values)
    }

    fileprivate mutating func operand() throws(FieldsealError) -> Operand {
        switch lexer.token {
        case .string(let text):
            try lexer.advance()
            return .literal(.text(text))
        case .alias(let name):
            try lexer.advance()
            return try about(alias: name) { inner throws(FieldsealError) in
                let operand = try inner.operand()
                guard case .literal = operand, inner.lexer.token == .end else { throw inner.lexer.unexpected("literal") }
                return operand
            }
        case .word(let word):
            try lexer.advance()
            if let literal = Self.literal(word) { return .literal(literal) }
            // A member of an enumeration, such as Microsoft.Dynamics.CRM.OwnershipTypes'UserOwned'.
            if word.hasPrefix(ODataPath.namespace), case .string(let member) = lexer.token {
                try lexer.advance()
                return .literal(.text(member))
            }
            if lexer.token == .symbol("(") { return try call(word) }
            return try path(word)
        default: throw lexer.unexpected("attribute or literal")
        }
    }

    /// A literal without quotes; nil for an identifier.
    static func literal(_ word: String) -> Literal? {
        switch word.lowercased() {
        case "null": return .null
        case "true": return .bool(true)
        case "false": return .bool(false)
        default: break
        }
        guard let first = word.unicodeScalars.first else { return nil }
        if UUID(text: word) != nil { return .text(word) }
        if word.wholeMatch(of: /-?\d+(\.\d+)?([eE][+-]?\d+)?/) != nil { return .number(word) }
        // A word that begins with a digit or a brace is a date or an id. A minus before a name would be a negation, which is not
        // supported: such a word is an unknown attribute.
        return ("0"..."9").contains(first) || first == "{" ? .text(word) : nil
    }

    // MARK: Paths and lambdas

    private mutating func path(_ first: String) throws(FieldsealError) -> Operand {
        var steps = [first]
        while try lexer.take("/") {
            let step = try lexer.requireWord("attribute")
            if ["any", "all"].contains(step.lowercased()), lexer.token == .symbol("(") {
                return .condition(try lambda(steps, isAll: step.lowercased() == "all"))
            }
            steps.append(step)
            guard steps.count <= Self.stepLimit else {
                throw FieldsealError(.queryDoesNotFit, "A path has more than \(Self.stepLimit) steps. Shorten it.")
            }
        }
        return .column(try column(steps))
    }

    private func column(_ steps: [String]) throws(FieldsealError) -> RecordQuery.Column {
        let (variable, path, name) = try start(of: steps)
        return RecordQuery.Column(name, path: path, alias: variable)
    }

    /// Splits a path into the variable of `any` or `all` with which it may begin, the steps, and the last name.
    private func start(of steps: [String]) throws(FieldsealError) -> (variable: String?, path: [String], name: String) {
        var path = steps
        let name = path.popLast() ?? ""
        if let first = path.first, variables.contains(first) { return (first, Array(path.dropFirst()), name) }
        // A name without the variable would be an attribute of the outer record (OData 4.0 Part 2, section 5.1.1.11.4).
        if let variable = variables.last {
            let path = steps.joined(separator: "/").prefix(100)
            throw FieldsealError(
                .queryDoesNotFit, "Inside of any and all, names begin with the variable: write \(variable.prefix(50))/\(path).")
        }
        return (nil, path, name)
    }

    private mutating func lambda(_ steps: [String], isAll: Bool) throws(FieldsealError) -> Filter {
        let (outer, path, property) = try start(of: steps)
        let collection = Filter.Collection(property, path: path, alias: outer)
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthLimit else { throw Self.tooDeep }
        try lexer.require("(")
        if try lexer.take(")") { return .lambda(collection, variable: "", nil, isAll: isAll) }
        let variable = try lexer.requireWord("variable")
        guard !variables.contains(variable) else {
            throw FieldsealError(
                .queryDoesNotFit, "The variable \(variable.quotedForMessage) is that of any or all around it. Name another.")
        }
        try lexer.require(":")
        variables.append(variable)
        let inner = try or()
        variables.removeLast()
        try lexer.require(")")
        return .lambda(collection, variable: variable, inner, isAll: isAll)
    }

    // MARK: Functions

    private mutating func call(_ name: String) throws(FieldsealError) -> Operand {
        if name.hasPrefix("Microsoft.Dynamics.CRM.") { return .condition(try queryFunction(String(name.dropFirst(23)))) }
        try lexer.require("(")
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthLimit else { throw Self.tooDeep }
        let first = try operand()
        switch name.lowercased() {
        case "contains", "startswith", "endswith":
            try lexer.require(",")
            guard case .column(let column) = first, case .literal(.text(let text)) = try operand() else {
                throw FieldsealError(.queryDoesNotFit, "\(name.prefix(20)) takes an attribute and a text.")
            }
            try lexer.require(")")
            let pattern: TextPattern? =
                switch name.lowercased() {
                case "contains": .contains(text)
                case "startswith": .starts(with: text)
                default: .ends(with: text)
                }
            return .condition(.like(column, try QueryOperator.pattern(pattern)))
        case "tolower", "toupper":
            // Both functions have no effect on a result, because comparisons of texts ignore case.
            try lexer.require(")")
            switch first {
            case .column(var column):
                column.isText = true
                return .column(column)
            case .literal(.text): return first
            default: throw FieldsealError(.queryDoesNotFit, "\(name.prefix(20)) takes an attribute or a text.")
            }
        default:
            throw FieldsealError(.queryDoesNotFit, "$filter does not know the function \(name.prefix(50).debugDescription).")
        }
    }

    /// Parses `Name(PropertyName='a',PropertyValue=…)`, after its prefix.
    private mutating func queryFunction(_ name: String) throws(FieldsealError) -> Filter {
        try lexer.require("(")
        var column: RecordQuery.Column?
        var values: [Literal] = []
        var given: Set<String> = []
        while try !lexer.take(")") {
            let parameter = try lexer.requireWord("parameter")
            guard given.insert(parameter.lowercased()).inserted else {
                throw FieldsealError(.queryDoesNotFit, "\(name.prefix(50)) has the parameter \(parameter.prefix(50)) twice.")
            }
            try lexer.require("=")
            switch parameter.lowercased() {
            case "propertyname":
                guard case .literal(.text(let text)) = try operand() else { throw lexer.unexpected("attribute's name in quotes") }
                column = try self.column(text.split(separator: "/").map(String.init))
            case "propertyvalue":
                guard case .literal(let value) = try operand() else { throw lexer.unexpected("literal") }
                values.append(value)
            case "propertyvalues":
                if case .alias(let name) = lexer.token {
                    try lexer.advance()
                    values += try list(ofAlias: name)
                } else {
                    values += try bracketedList()
                }
            case "propertyvalue1":
                guard case .literal(let value) = try operand() else { throw lexer.unexpected("literal") }
                values.insert(value, at: 0)
            case "propertyvalue2":
                guard case .literal(let value) = try operand() else { throw lexer.unexpected("literal") }
                values.append(value)
            default: throw lexer.unexpected("PropertyName or PropertyValue")
            }
            guard try lexer.take(",") || lexer.token == .symbol(")") else { throw lexer.unexpected("',' or ')'") }
        }
        guard let column else { throw FieldsealError(.queryDoesNotFit, "\(name.prefix(50)) takes a PropertyName.") }
        guard let filter = try Condition.filter(name, column, values) else {
            throw FieldsealError(.queryDoesNotFit, "There is no query function \(name.prefix(50).debugDescription).")
        }
        return filter
    }
}

extension FilterParser {
    /// Parses `['a','b']`.
    private mutating func bracketedList() throws(FieldsealError) -> [Literal] {
        try lexer.require("[")
        return try elements(until: "]")
    }

    /// Parses the rest of a list, after its opening bracket.
    private mutating func elements(until end: Character) throws(FieldsealError) -> [Literal] {
        var values: [Literal] = []
        while try !lexer.take(end) {
            guard case .literal(let value) = try operand() else { throw lexer.unexpected("literal") }
            try Condition.add(value, to: &values)
            guard try lexer.take(",") || lexer.token == .symbol(end) else { throw lexer.unexpected("',' or '\(end)'") }
        }
        return values
    }

    /// Parses the list that a parameter alias has as its value.
    private func list(ofAlias name: String) throws(FieldsealError) -> [Literal] {
        try about(alias: name) { inner throws(FieldsealError) in
            let values = try inner.lexer.take("(") ? inner.elements(until: ")") : inner.bracketedList()
            guard inner.lexer.token == .end else { throw inner.lexer.unexpected("end of the list") }
            return values
        }
    }

    /// Parses the value of a parameter alias, which can't be another alias. An error in the value names the alias.
    private func about<Value>(alias name: String, _ parse: (inout FilterParser) throws(FieldsealError) -> Value)
        throws(FieldsealError) -> Value
    {
        let text = try value(ofAlias: name)
        do {
            var inner = try FilterParser(text)
            inner.isAlias = true
            return try parse(&inner)
        } catch {
            throw FieldsealError(error.code, "In the value of the parameter alias '@\(name.prefix(50))': \(error.message)")
        }
    }

    private func value(ofAlias name: String) throws(FieldsealError) -> String {
        guard let value = aliases[name] else {
            throw FieldsealError(
                .queryDoesNotFit,
                isAlias
                    ? "The value of a parameter alias is a literal, and not another alias such as '@\(name.prefix(50))'."
                    : "The parameter alias '@\(name.prefix(50))' has no value in the URL.")
        }
        return value
    }
}

extension Filter.Comparison {
    /// The comparison with swapped sides.
    var flipped: Filter.Comparison {
        switch self {
        case .less: .greater
        case .lessOrEqual: .greaterOrEqual
        case .greater: .less
        case .greaterOrEqual: .lessOrEqual
        default: self
        }
    }
}
