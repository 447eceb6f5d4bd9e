/// The addresses to which an e-mail went, as a record has them: with semicolons between them.
struct RecipientList {
    /// Addresses that a list names.
    private static let named = 2

    private let addresses: [String]

    init(_ text: String) {
        addresses = text.split(separator: ";").map { $0.drop { $0 == " " } }.filter { !$0.isEmpty }.map(String.init)
    }

    /// All addresses.
    var full: String { addresses.joined(separator: ", ") }

    /// The first ones, and how many there are beside them.
    var short: String {
        let rest = addresses.count - Self.named
        return addresses.prefix(Self.named).joined(separator: ", ") + (rest > 0 ? " +\(rest)" : "")
    }
}
