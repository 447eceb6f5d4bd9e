/// The addresses to which an e-mail went, as a record has them: with semicolons between them.
struct RecipientList {
    /// How many addresses ``short`` names. The remaining addresses are only counted.
    private static let namedCount = 2

    private let addresses: [String]

    init(_ text: String) {
        addresses = text.split(separator: ";").map { $0.drop { $0 == " " } }.filter { !$0.isEmpty }.map(String.init)
    }

    /// All addresses.
    var full: String { addresses.joined(separator: ", ") }

    /// The first addresses, and how many more there are.
    var short: String {
        let rest = addresses.count - Self.namedCount
        return addresses.prefix(Self.namedCount).joined(separator: ", ") + (rest > 0 ? " +\(rest)" : "")
    }
}
