import Foundation

/// Searches files for values that must not be in them any more.
package struct PlaintextScan: Sendable {
    /// The values to search for, by their first six bytes.
    private var values: [UInt64: [[UInt8]]] = [:]
    /// For each pair of bytes, whether a value begins with it. This check excludes nearly every position in a file.
    private var beginnings = [Bool](repeating: false, count: 1 << 16)
    /// How many values are searched for.
    package private(set) var count = 0

    /// The minimum length in bytes of a value that is searched for. Files would contain shorter values by chance.
    package static let minimumLength = 6
    /// The largest number of values that are searched for.
    package static let limit = 100_000

    init() {}

    mutating func add(_ value: [UInt8]) {
        guard value.count >= Self.minimumLength, count < Self.limit else { return }
        let key = value.withUnsafeBytes(Self.key)
        guard values[key]?.contains(value) != true else { return }
        values[key, default: []].append(value)
        beginnings[Int(value[0]) << 8 | Int(value[1])] = true
        count += 1
    }

    /// The files below a folder that contain one of the values.
    ///
    /// - Throws: When a file can't be read.
    package func files(below folder: String) throws -> (searched: Int, bytes: Int, hits: [String]) {
        var searched = 0
        var bytes = 0
        var hits: [String] = []
        for name in try FileManager.default.subpathsOfDirectory(atPath: folder).sorted() {
            let path = "\(folder)/\(name)"
            // A file that was deleted meanwhile is skipped.
            guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
                attributes[.type] as? FileAttributeType == .typeRegular
            else { continue }
            let data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
            searched += 1
            bytes += data.count
            if data.withUnsafeBytes(holdsValue) { hits.append(path) }
        }
        return (searched, bytes, hits)
    }

    private func holdsValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard count > 0, bytes.count >= Self.minimumLength else { return false }
        return beginnings.withUnsafeBufferPointer { beginnings in
            for start in 0...(bytes.count - Self.minimumLength)
            where beginnings[Int(bytes[start]) << 8 | Int(bytes[start + 1])] {
                guard let candidates = values[Self.key(UnsafeRawBufferPointer(rebasing: bytes[start...]))] else { continue }
                for value in candidates where bytes.count - start >= value.count {
                    if UnsafeRawBufferPointer(rebasing: bytes[start..<(start + value.count)]).elementsEqual(value) { return true }
                }
            }
            return false
        }
    }

    /// The first six bytes as a number.
    private static func key(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        bytes.prefix(minimumLength).reduce(0) { $0 << 8 | UInt64($1) }
    }
}
