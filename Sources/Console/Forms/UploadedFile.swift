/// A file that a person chose in a form.
struct UploadedFile: Sendable {
    let name: String
    /// The browser's media type; empty for none.
    let type: String
    let bytes: [UInt8]
}
