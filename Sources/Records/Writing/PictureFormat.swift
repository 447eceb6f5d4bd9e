import Model

/// The formats of pictures, by the octets that their files begin with.
enum PictureFormat {
    private static let beginnings: [(name: String, octets: [UInt8])] = [
        ("PNG", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), ("JPEG", [0xff, 0xd8, 0xff]), ("GIF", Array("GIF87a".utf8)),
        ("GIF", Array("GIF89a".utf8)), ("BMP", Array("BM".utf8)), ("TIFF", [0x49, 0x49, 0x2a, 0x00]),
        ("TIFF", [0x4d, 0x4d, 0x00, 0x2a]),
    ]

    /// - Throws: ``FieldsealError`` `.invalidArgument` naming the formats, for bytes that are not a picture.
    static func check(_ octets: [UInt8], _ attribute: AttributeDefinition) throws(FieldsealError) {
        guard !beginnings.contains(where: { octets.starts(with: $0.octets) }) else { return }
        throw FieldsealError(.invalidArgument, "\(attribute.logicalName) takes a picture: PNG, JPEG, GIF, BMP or TIFF.")
    }
}
