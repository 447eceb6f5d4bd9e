/// An error in an XML document and its position. The error never quotes text of the document.
struct XMLSyntaxError: Error, Sendable, Equatable, CustomStringConvertible {
    let reason: String
    /// The position in bytes of UTF-8.
    let offset: Int

    var description: String { "\(reason) (at byte \(offset))" }
}
