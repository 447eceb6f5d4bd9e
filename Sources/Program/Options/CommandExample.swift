import ArgumentParser

extension CommandConfiguration {
    /// The configuration of a command whose help ends in an example.
    ///
    /// - Parameter example: The command line after `fieldseal`.
    init(commandName: String? = nil, abstract: String, discussion: String = "", example: String) {
        let before = discussion.isEmpty ? "" : "\(discussion)\n\n"
        self.init(commandName: commandName, abstract: abstract, discussion: "\(before)EXAMPLE:\n  fieldseal \(example)")
    }
}
