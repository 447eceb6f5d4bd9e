/// The addresses to which an e-mail went.
struct RecipientList {
    /// How many addresses ``short`` names. The remaining addresses are only counted.
    private static let namedCount = 2

    private let addresses: [String]

    /// - Parameters:
    ///   - text: The addresses in the e-mail's record, with semicolons between them. Of many addresses it has only the first ones.
    ///   - all: All addresses, from the e-mail's parties; nil for an e-mail without parties.
    init(_ text: String, all: [String]? = nil) {
        addresses = all ?? text.split(separator: ";").map { $0.drop { $0 == " " } }.filter { !$0.isEmpty }.map(String.init)
    }

    /// All addresses.
    var full: String { addresses.joined(separator: ", ") }

    /// The first addresses, and how many more there are.
    var short: String {
        let rest = addresses.count - Self.namedCount
        return addresses.prefix(Self.namedCount).joined(separator: ", ") + (rest > 0 ? " +\(rest)" : "")
    }
}
