import Authentication
import Foundation
import JSON
import PostgresClient
import Tenancy

/// Parses the text of a setting as a value of its kind. A text that does not match is refused; nothing is guessed.
struct SettingParser {
    /// The form of a text in its source.
    enum Form {
        /// Quoted, or in a variable: a text, which may represent a number or a flag.
        case quoted
        /// Unquoted in YAML or JSON: a number, a flag, null or a text.
        case plain
    }

    let setting: Setting
    /// The place of the value, for messages: the file with the line, or the variable.
    let place: String

    /// - Throws: ``SettingsError`` that says what the setting accepts. The error quotes no connection string.
    func value(_ text: String, _ form: Form) throws(SettingsError) -> Setting.Value {
        guard !text.unicodeScalars.contains("\0") else { throw misfit("a text with the character U+0000") }
        if form == .plain, ["", "~", "null", "Null", "NULL"].contains(text) { return try none() }
        switch setting.kind {
        case .integer(let range):
            // Numbers may be quoted, because template tools quote them.
            let number =
                if let unit = setting.unit { Quantity.number(text, in: unit) } else {
                    text.wholeMatch(of: /-?(0|[1-9][0-9]{0,17})/).flatMap { Int($0.0) }
                }
            guard let number, range.contains(number) else { throw misfit(text) }
            return .integer(number)
        case .flag:
            guard text == "true" || text == "false" else { throw misfit(text) }
            return .flag(text == "true")
        case .choice(let options):
            guard options.contains(text) else { throw misfit(text) }
            return .text(text)
        case .networks: return .list(try networks(text.split(separator: ",").map(String.init)))
        case .origins: return .list(try origins(text.split(separator: ",").map(String.init)))
        case .command:
            guard case .array(let list)? = try? JSONParser.parse(Array(text.utf8)), list.allSatisfy({ $0.string != nil }) else {
                throw misfit(text)
            }
            return .list(try command(list.compactMap(\.string)))
        case .hosts:
            return try table(
                text.split(separator: ",").map { entry in
                    let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    return (String(parts[0]).trimmingCharacters(in: .whitespaces), parts.count > 1 ? String(parts[1]) : "")
                })
        case .connections, .databases:
            guard case .object(let members)? = try? JSONParser.parse(Array(text.utf8)) else { throw misfit(text) }
            return try table(members.map { ($0.name, $0.value.string ?? "") })
        case .commands:
            guard case .object(let members)? = try? JSONParser.parse(Array(text.utf8)) else { throw misfit(text) }
            return try lists(
                members.map { member in
                    guard case .array(let list) = member.value, list.allSatisfy({ $0.string != nil }) else {
                        return (member.name, [])
                    }
                    return (member.name, list.map { $0.string ?? "" })
                })
        case .text, .file, .connection, .address:
            if form == .plain, Self.isNoText(text) { throw misfit("\(text), which is not text; put a text in quotes") }
            if text.isEmpty { return try none() }
            return try checked(text)
        }
    }

    func list(_ texts: [(text: String, form: Form)]) throws(SettingsError) -> Setting.Value {
        switch setting.kind {
        case .networks: return .list(try networks(texts.map(\.text)))
        case .origins: return .list(try origins(texts.map(\.text)))
        case .command: return .list(try command(texts.map(\.text)))
        default: throw misfit("a list")
        }
    }

    /// - Parameter entries: Host names or names of databases, each with its text.
    func table(_ entries: [(host: String, text: String)]) throws(SettingsError) -> Setting.Value {
        switch setting.kind {
        case .connections: return .table(try connections(entries))
        case .databases: return .table(try texts(entries))
        default: break
        }
        guard case .hosts(let texts) = setting.kind else { throw misfit("an object") }
        var table: [String: String] = [:]
        for (host, text) in entries {
            let host = host.lowercased()
            guard host.wholeMatch(of: /[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?/) != nil, !host.contains("..") else {
                throw misfit("an object with \(host.prefix(100)), which is not a host name")
            }
            guard table[host] == nil else { throw misfit("an object with \(host.prefix(100)) twice") }
            switch texts {
            case .organizations:
                guard Organization.isName(text) else { throw misfit("\(text.prefix(100)), which is not an organization's name") }
                guard ServiceAddresses.canBeRoot(text) else {
                    throw misfit("\(text), which is the name of a path of the Web API; such an organization has no host of its own")
                }
            case .files:
                guard !text.isEmpty, !host.contains(":") else {
                    throw misfit("an object with \(host.prefix(100)) and no file, or with a port")
                }
            }
            table[host] = text
        }
        return .table(table)
    }

    func misfit(_ given: String) -> SettingsError {
        var shown = given.count > 100 ? "\(given.prefix(100))…" : given
        switch setting.kind {
        case .connection, .connections: shown = "something else"
        default: break
        }
        return .misfit(key: setting.key, takes: setting.expectation, given: shown, place: place)
    }

    private func none() throws(SettingsError) -> Setting.Value {
        guard [.none, .text(""), .list([]), .table([:]), .lists([:])].contains(setting.read(Settings.defaults)) else {
            throw misfit("nothing")
        }
        return .none
    }

    private func networks(_ texts: [String]) throws(SettingsError) -> [String] {
        var networks: [String] = []
        for text in texts {
            let text = text.trimmingCharacters(in: .whitespaces)
            guard IPNetwork(text) != nil else { throw misfit("a list with \(text.prefix(100)), which is not a network") }
            networks.append(text)
        }
        return networks
    }

    private func command(_ texts: [String]) throws(SettingsError) -> [String] {
        guard let program = texts.first else { return [] }
        guard program.hasPrefix("/") else {
            throw misfit("a list that begins with \(program.prefix(100)), which is not an absolute path")
        }
        guard !texts.contains(where: { $0.unicodeScalars.contains("\0") }) else {
            throw misfit("an argument with the character U+0000")
        }
        return texts
    }

    private func origins(_ texts: [String]) throws(SettingsError) -> [String] {
        var origins: [String] = []
        for text in texts {
            // The form that browsers send: in lower case, and without the scheme's default port.
            let text = text.trimmingCharacters(in: .whitespaces).lowercased()
            let isPublic =
                text.wholeMatch(of: /https:\/\/([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?/) != nil && !text.hasSuffix(":443")
            let isLocal =
                text.wholeMatch(of: /http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?/) != nil && !text.hasSuffix(":80")
            guard isPublic || isLocal else { throw misfit("a list with \(text.prefix(100)), which is not an origin") }
            origins.append(text)
        }
        return origins
    }

    /// Connection strings by the databases' names. These names have the form of organizations' names, because messages, metrics and
    /// options contain them.
    private func connections(_ entries: [(host: String, text: String)]) throws(SettingsError) -> [String: String] {
        var table: [String: String] = [:]
        for (name, text) in entries {
            try checkName(name, isNew: table[name] == nil)
            guard !text.isEmpty, (try? ConnectionParameters.parse(text)) != nil else {
                throw .malformed("\(setting.key).\(name) takes a libpq connection string (\(place))")
            }
            table[name] = text
        }
        return table
    }

    private func checkName(_ name: String, isNew: Bool) throws(SettingsError) {
        guard Organization.isName(name) else {
            throw .malformed("\(setting.key) has a name that is not 1 to 39 lower-case letters, digits and hyphens (\(place))")
        }
        guard isNew else { throw .malformed("\(setting.key) has \(name) twice (\(place))") }
    }

    /// Texts by the databases' names.
    private func texts(_ entries: [(host: String, text: String)]) throws(SettingsError) -> [String: String] {
        var table: [String: String] = [:]
        for (name, text) in entries {
            try checkName(name, isNew: table[name] == nil)
            guard !text.isEmpty, !text.unicodeScalars.contains("\0") else { throw misfit("an object with \(name) and no text") }
            table[name] = text
        }
        return table
    }

    /// Programs with their arguments, by the databases' names.
    func lists(_ entries: [(name: String, list: [String])]) throws(SettingsError) -> Setting.Value {
        var table: [String: [String]] = [:]
        for (name, list) in entries {
            try checkName(name, isNew: table[name] == nil)
            guard !list.isEmpty else { throw misfit("an object with \(name) and no list") }
            table[name] = try command(list)
        }
        return .lists(table)
    }

    private func checked(_ text: String) throws(SettingsError) -> Setting.Value {
        switch setting.kind {
        case .connection:
            do { _ = try ConnectionParameters.parse(text) } catch { throw misfit("") }
        case .address:
            let address = text.hasSuffix("/") ? String(text.dropLast()) : text
            guard address.wholeMatch(of: /https:\/\/([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/) != nil,
                let url = URL(string: address), url.host()?.isEmpty == false, url.port.map((1...65_535).contains) ?? true
            else { throw misfit(text) }
            return .text(address)
        case .text where setting.key.hasSuffix(".host"):
            guard text.wholeMatch(of: /[A-Za-z0-9.:%_-]+/) != nil else { throw misfit(text) }
        default: break
        }
        return .text(text)
    }

    /// Whether YAML and JSON parse an unquoted text as a number or a flag.
    private static func isNoText(_ text: String) -> Bool {
        text.wholeMatch(of: /[-+]?(0x[0-9a-fA-F]+|0o[0-7]+|[0-9][0-9_]*(\.[0-9]*)?([eE][-+]?[0-9]+)?|\.[0-9]+|\.inf|\.nan)/) != nil
            || ["true", "false", "yes", "no", "on", "off", "True", "False", "TRUE", "FALSE"].contains(text)
    }
}
