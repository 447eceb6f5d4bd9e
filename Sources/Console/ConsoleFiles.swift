import CConsole
import JSON
import Mustache

/// The templates, messages, style and script in the program.
struct ConsoleFiles: Sendable {
    let templates: MustacheLibrary
    /// The texts by language.
    private let languages: [String: Texts]
    let style: [UInt8]
    let script: [UInt8]
    let icon: [UInt8]
    /// The mail providers in `providers.json`.
    let providers: [JSONValue]

    /// - Throws: When a template or a message file is malformed. A test checks all of these files.
    init() throws {
        var templates: [String: MustacheTemplate] = [:]
        var others: [String: [UInt8]] = [:]
        var count = 0
        MustacheContentTypes.register(EscapedHTML(), named: EscapedHTML.name)
        let first = console_files(&count)
        for file in UnsafeBufferPointer(start: first, count: count) {
            let name = String(cString: file.name)
            let bytes = Array(UnsafeBufferPointer(start: file.bytes, count: file.length))
            if let template = name.between("Templates/", ".mustache") {
                templates[template] = try MustacheTemplate(
                    string: "{{% CONTENT_TYPE: \(EscapedHTML.name)}}" + String(decoding: bytes, as: UTF8.self))
            } else {
                others[name] = bytes
            }
        }
        self.templates = MustacheLibrary(templates: templates)
        languages = try Self.readLanguages()
        style = others["console.css"] ?? []
        script = others["console.js"] ?? []
        icon = others["favicon.svg"] ?? []
        if case .array(let list) = try JSONParser.parse(others["providers.json"] ?? Array("[]".utf8)) {
            providers = list
        } else {
            providers = []
        }
    }

    private static func readLanguages() throws -> [String: Texts] {
        var messages: [String: [String: String]] = [:]
        var count = 0
        let first = console_languages(&count)
        for file in UnsafeBufferPointer(start: first, count: count) {
            guard let language = String(cString: file.name).between("Messages/", ".json"),
                case .object(let members) = try JSONParser.parse(Array(String(cString: file.text).utf8))
            else { continue }
            messages[language] = members.reduce(into: [:]) { texts, member in
                if case .string(let text) = member.value { texts[member.name] = text }
            }
        }
        return Dictionary(
            uniqueKeysWithValues: messages.map { language, texts in
                (language, Texts(language: language, messages: texts, english: messages["en"] ?? [:]))
            })
    }

    /// The languages with a file of messages.
    var languageNames: [String] { languages.keys.sorted() }

    /// The texts of the language that a browser prefers.
    func texts(_ accepted: String?) -> Texts {
        languages[language(accepted)] ?? Texts(language: "en", messages: [:], english: [:])
    }

    /// The available language that a browser prefers (RFC 9110 section 12.5.4); otherwise English.
    private func language(_ accepted: String?) -> String {
        let wanted = (accepted ?? "").split(separator: ",").prefix(20).map { part -> (String, Double) in
            let pieces = part.split(separator: ";")
            let quality = pieces.dropFirst().compactMap {
                $0.trimmingPrefix(" ").hasPrefix("q=") ? Double($0.trimmingPrefix(" ").dropFirst(2)) : nil
            }
            let tag = pieces.first.map { $0.trimmingPrefix(" ").prefix { $0 != "-" && $0 != " " }.lowercased() } ?? ""
            return (tag, quality.first ?? 1)
        }
        return wanted.filter { $0.1 > 0 && languages[$0.0] != nil }.max { $0.1 < $1.1 }?.0 ?? "en"
    }
}

extension String {
    fileprivate func between(_ prefix: String, _ suffix: String) -> String? {
        hasPrefix(prefix) && hasSuffix(suffix) ? String(dropFirst(prefix.count).dropLast(suffix.count)) : nil
    }
}
