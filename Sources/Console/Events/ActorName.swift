/// An actor's name for people, from the name in events.
enum ActorName {
    /// `user:ada` becomes ada. The name of a client or of the command line says which of the two it is.
    static func shown(_ actor: String, _ texts: Texts) -> String {
        let parts = actor.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2, texts.optional("actor:\(parts[0])") != nil else { return actor }
        return texts.text("actor:\(parts[0])", ["name": parts[1]])
    }

    /// The name of a client that is shown as this text; nil for another text.
    static func client(_ shown: String, _ texts: Texts) -> String? {
        let parts = texts.text("actor:client", ["name": "\n"]).split(separator: "\n", omittingEmptySubsequences: false)
        guard parts.count == 2, shown.hasPrefix(parts[0]), shown.hasSuffix(parts[1]), !parts[1].isEmpty else { return nil }
        return String(shown.dropFirst(parts[0].count).dropLast(parts[1].count))
    }

    /// The name of a systemuser, or of the command line. The name of a client's systemuser begins with a number sign.
    static func shown(systemUser name: String, _ texts: Texts) -> String {
        if name.hasPrefix("cli:") { return shown(name, texts) }
        return name.hasPrefix("# ") ? texts.text("actor:client", ["name": String(name.dropFirst(2))]) : name
    }
}
