import Foundation
import Tenancy
import Yams

/// The settings in a file, YAML or JSON, with the line of each.
struct SettingsFile {
    let path: String
    private(set) var values: [(setting: Setting, value: Setting.Value)] = []

    /// Reads a file. Refuses unknown keys and invalid values.
    ///
    /// - Throws: ``SettingsError``.
    init(_ path: String, _ table: [Setting]) throws {
        self.path = path
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw SettingsError.malformed(
                "\(path) can't be read: \(FileStatus.obstacle(toReading: path) ?? "it must be a file in UTF-8")")
        }
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            throw SettingsError.malformed(Self.problem(error, path, text))
        }
        guard let root, !Self.isNothing(root) else { return }
        try read(root, under: "", table)
    }

    private mutating func read(_ node: Node, under prefix: String, _ table: [Setting]) throws {
        guard case .mapping(let mapping) = node else {
            guard prefix.isEmpty else {
                throw SettingsError.malformed("\(place(node)) has \(prefix.dropLast()) without settings below it")
            }
            throw SettingsError.malformed("\(place(node)) is neither YAML nor JSON with an object at its top")
        }
        for (name, child) in mapping {
            guard case .scalar(let scalar) = name, !scalar.string.contains(".") else {
                throw SettingsError.malformed(
                    "\(place(name)) has a name that is not a setting; https.port is written as port below https")
            }
            let key = prefix + scalar.string
            if table.contains(where: { $0.key.hasPrefix("\(key).") }) {
                if !Self.isNothing(child) { try read(child, under: "\(key).", table) }
            } else if let setting = table.first(where: { $0.key == key }) {
                values.append((setting, try value(of: child, setting)))
            } else if let advice = Settings.unsupported.first(where: { key == $0.key || key.hasPrefix("\($0.key).") })?.value {
                throw SettingsError.unsupported(key, place(name), advice: advice)
            } else {
                throw SettingsError.unknownKey(key, place(name), table.map(\.key))
            }
        }
    }

    private func value(of node: Node, _ setting: Setting) throws(SettingsError) -> Setting.Value {
        let parser = SettingParser(setting: setting, place: place(node))
        switch node {
        case .scalar(let scalar): return try parser.value(scalar.string, Self.form(scalar))
        case .sequence(let sequence):
            var texts: [(String, SettingParser.Form)] = []
            for element in sequence {
                guard case .scalar(let scalar) = element else { throw parser.misfit("a list whose entries are not texts") }
                texts.append((scalar.string, Self.form(scalar)))
            }
            return try parser.list(texts)
        case .mapping(let mapping):
            if case .commands = setting.kind { return try parser.lists(Self.lists(mapping, parser)) }
            var entries: [(host: String, text: String)] = []
            for (name, child) in mapping {
                guard case .scalar(let host) = name, case .scalar(let text) = child else {
                    throw parser.misfit("an object whose values are not texts")
                }
                entries.append((host.string, Self.isNothing(child) ? "" : text.string))
            }
            return try parser.table(entries)
        case .alias: throw parser.misfit("an alias")
        }
    }

    /// Lists by the names in a mapping.
    private static func lists(_ mapping: Node.Mapping, _ parser: SettingParser) throws(SettingsError) -> [(String, [String])] {
        var entries: [(String, [String])] = []
        for (name, child) in mapping {
            guard case .scalar(let name) = name, case .sequence(let sequence) = child else {
                throw parser.misfit("an object whose values are not lists of texts")
            }
            let texts = sequence.compactMap { $0.scalar?.string }
            guard texts.count == sequence.count else { throw parser.misfit("a list whose entries are not texts") }
            entries.append((name.string, texts))
        }
        return entries
    }

    private static func form(_ scalar: Node.Scalar) -> SettingParser.Form {
        scalar.style == .plain || scalar.style == .any ? .plain : .quoted
    }

    private static func isNothing(_ node: Node) -> Bool {
        guard case .scalar(let scalar) = node, form(scalar) == .plain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    private func place(_ node: Node) -> String { node.mark.map { "\(path) line \($0.line)" } ?? path }

    /// The message for an error of the YAML parser. The parser's own description quotes the file, which may contain a password.
    private static func problem(_ error: YamlError, _ path: String, _ text: String) -> String {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
            "\(path) line \(mark.line) is neither YAML nor JSON: \(problem)"
        case .duplicatedKeysInMapping(let duplicates, let context):
            "\(path) has "
                + duplicates.sorted().map { "\($0) twice\(places(of: $0, from: context.mark, in: text))" }.joined(
                    separator: ", and ")
        default: "\(path) is neither YAML nor JSON"
        }
    }

    /// The end of the message about a name that is twice in an object: the lines of the name. If the object is on one line, the end
    /// names only that line.
    private static func places(of name: String, from mark: Mark, in text: String) -> String {
        let whole = text.components(separatedBy: "\n")
        let lines = whole.map { $0.drop { $0 == " " } }
        let indents = zip(whole, lines).map { $0.count - $1.count }
        let found = lines.indices.filter { index in
            index + 1 >= mark.line && indents[index] == mark.column - 1
                && ["\(name):", "\"\(name)\":", "'\(name)':"].contains { lines[index].hasPrefix($0) }
        }
        return found.count > 1
            ? ", \(found.map { "at line \($0 + 1)" }.joined(separator: " and "))" : ", in the object at line \(mark.line)"
    }
}
