import Tenancy

/// One setting: its name, its kind, and its property.
///
/// ``Settings/table`` has all settings. Reading, `config check` and the test of the documentation use this table.
struct Setting {
    /// The kind of a setting's value.
    enum Kind {
        case text
        /// A path. The code that uses the file checks whether the file exists.
        case file
        /// A libpq connection string. Messages never quote the string, because it may contain a password.
        case connection
        /// Connection strings by the databases' names. In an environment variable the strings are a JSON object.
        case connections
        /// A text for each of several databases. In an environment variable the texts are a JSON object.
        case databases(DatabaseTexts)
        /// A program and its arguments for each of several databases. In an environment variable the programs are a JSON object.
        case commands
        /// The service's address: `https://`, a host, and an optional port.
        case address
        case integer(ClosedRange<Int>)
        case flag
        case choice([String])
        /// A list of networks. In an environment variable the networks are separated by commas.
        case networks
        /// A program and its arguments. In an environment variable both are a JSON list.
        case command
        /// A list of web origins. In an environment variable the origins are separated by commas.
        case origins
        /// A text for each of several host names. In an environment variable: `NAME=TEXT` separated by commas.
        case hosts(HostTexts)
    }

    /// The meaning of the texts of ``Kind/hosts(_:)``.
    enum HostTexts {
        case organizations, files
    }

    /// The meaning of the texts of ``Kind/databases(_:)``.
    enum DatabaseTexts {
        case files, credentials
    }

    /// A value of any kind.
    enum Value: Equatable {
        case text(String)
        case integer(Int)
        case flag(Bool)
        case list([String])
        /// Texts by their host names.
        case table([String: String])
        /// Lists by the databases' names.
        case lists([String: [String]])
        /// The setting is not set.
        case none
    }

    /// The name in a file, with a dot for each level.
    let key: String
    let kind: Kind
    /// Whether the setting is required.
    var isRequired = false
    let read: (Settings) -> Value
    /// Sets a value that matches `kind`.
    let write: (inout Settings, Value) -> Void

    /// The environment variable that overrides the file: for `https.port` it is `FIELDSEAL_HTTPS_PORT`.
    var variable: String {
        var name = "FIELDSEAL_"
        var isAfterLowercase = false
        for character in key {
            if character.isUppercase, isAfterLowercase { name += "_" }
            isAfterLowercase = character.isLowercase
            name += character == "." ? "_" : character.uppercased()
        }
        return name
    }

    /// The unit of a number that the operator wrote without a unit; nil if the setting is not a time.
    var unit: Quantity.Unit? {
        guard case .integer = kind else { return nil }
        return key.hasSuffix("Seconds") ? .seconds : key.hasSuffix("Days") ? .days : nil
    }

    /// The accepted values, for a message.
    var expectation: String {
        switch kind {
        case .text: "a text"
        case .file: "the path of a file"
        case .connection: "a libpq connection string"
        case .connections: "libpq connection strings by names, such as {main: host=db1 …, east: host=db2 …}"
        case .databases(.files): "paths of files by the databases' names, such as {east: /etc/fieldseal/private/kek-east}"
        case .databases(.credentials): "names of credentials by the databases' names, such as {east: kek-east}"
        case .commands:
            "lists of a program's absolute path and its arguments by the databases' names, such as {east: [/usr/bin/age, -d, /etc/fieldseal/kek-east.age]}"
        case .address: "an address such as https://crm.example.com, without a path"
        case .integer(let range): "\(range.lowerBound) to \(range.upperBound)\(unit.map { " \($0.words)" } ?? "")"
        case .flag: "true or false"
        case .choice(let options): "one of \(options.joined(separator: ", "))"
        case .command: "a list of a program's absolute path and its arguments, such as [/usr/bin/age, -d, /etc/fieldseal/kek.age]"
        case .origins: "a list of origins such as https://app.example.com, without a path"
        case .networks: "a list of networks such as 192.0.2.0/24, 2001:db8::/32 or single addresses"
        case .hosts(.organizations): "organizations by their host names, such as {crm.contoso.example: contoso}"
        case .hosts(.files): "paths of files by host names, such as {crm.contoso.example: /etc/fieldseal/contoso.pem}"
        }
    }
}

extension Setting {
    static func text(_ key: String, _ path: WritableKeyPath<Settings, String>, _ kind: Kind = .text, isRequired: Bool = false)
        -> Setting
    {
        Setting(key: key, kind: kind, isRequired: isRequired) {
            .text($0[keyPath: path])
        } write: { settings, value in
            if case .text(let text) = value { settings[keyPath: path] = text }
        }
    }

    static func text(_ key: String, _ path: WritableKeyPath<Settings, String?>, _ kind: Kind = .file) -> Setting {
        Setting(key: key, kind: kind) {
            $0[keyPath: path].map { .text($0) } ?? .none
        } write: { settings, value in
            if case .text(let text) = value { settings[keyPath: path] = text } else { settings[keyPath: path] = nil }
        }
    }

    static func integer(_ key: String, _ path: WritableKeyPath<Settings, Int>, _ range: ClosedRange<Int>) -> Setting {
        Setting(key: key, kind: .integer(range)) {
            .integer($0[keyPath: path])
        } write: { settings, value in
            if case .integer(let number) = value { settings[keyPath: path] = number }
        }
    }

    static func integer(_ key: String, _ path: WritableKeyPath<Settings, Int?>, _ range: ClosedRange<Int>) -> Setting {
        Setting(key: key, kind: .integer(range)) {
            $0[keyPath: path].map { .integer($0) } ?? .none
        } write: { settings, value in
            if case .integer(let number) = value { settings[keyPath: path] = number } else { settings[keyPath: path] = nil }
        }
    }

    static func flag(_ key: String, _ path: WritableKeyPath<Settings, Bool>) -> Setting {
        Setting(key: key, kind: .flag) {
            .flag($0[keyPath: path])
        } write: { settings, value in
            if case .flag(let flag) = value { settings[keyPath: path] = flag }
        }
    }

    static func origins(_ key: String, _ path: WritableKeyPath<Settings, [String]>) -> Setting {
        Setting(key: key, kind: .origins) {
            .list($0[keyPath: path])
        } write: { settings, value in
            if case .list(let texts) = value { settings[keyPath: path] = texts }
        }
    }

    static func command(_ key: String, _ path: WritableKeyPath<Settings, [String]>) -> Setting {
        Setting(key: key, kind: .command) {
            .list($0[keyPath: path])
        } write: { settings, value in
            if case .list(let texts) = value { settings[keyPath: path] = texts } else { settings[keyPath: path] = [] }
        }
    }

    static func networks(_ key: String, _ path: WritableKeyPath<Settings, [IPNetwork]>) -> Setting {
        Setting(key: key, kind: .networks) {
            .list($0[keyPath: path].map(\.description))
        } write: { settings, value in
            if case .list(let texts) = value { settings[keyPath: path] = texts.compactMap(IPNetwork.init) }
        }
    }

    static func hosts(_ key: String, _ path: WritableKeyPath<Settings, [String: String]>, _ texts: HostTexts) -> Setting {
        table(key, path, .hosts(texts))
    }

    static func connections(_ key: String, _ path: WritableKeyPath<Settings, [String: String]>) -> Setting {
        table(key, path, .connections)
    }

    static func databases(_ key: String, _ path: WritableKeyPath<Settings, [String: String]>, _ texts: DatabaseTexts) -> Setting {
        table(key, path, .databases(texts))
    }

    static func commands(_ key: String, _ path: WritableKeyPath<Settings, [String: [String]]>) -> Setting {
        Setting(key: key, kind: .commands) {
            .lists($0[keyPath: path])
        } write: { settings, value in
            if case .lists(let lists) = value { settings[keyPath: path] = lists } else { settings[keyPath: path] = [:] }
        }
    }

    private static func table(_ key: String, _ path: WritableKeyPath<Settings, [String: String]>, _ kind: Kind) -> Setting {
        Setting(key: key, kind: kind) {
            .table($0[keyPath: path])
        } write: { settings, value in
            if case .table(let table) = value { settings[keyPath: path] = table } else { settings[keyPath: path] = [:] }
        }
    }
}
