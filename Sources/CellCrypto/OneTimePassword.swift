import COpenSSL
public import Foundation

/// Time-based one-time passwords (RFC 6238) with six digits, thirty seconds and HMAC-SHA-1, which every authenticator supports.
public enum OneTimePassword {
    /// The length of a seed in bytes (RFC 4226 section 4).
    public static let seedLength = 20
    /// The length of a time step in seconds.
    public static let period = 30

    /// The time step of a moment.
    public static func step(at date: Date) -> Int { Int(date.timeIntervalSince1970) / period }

    /// The six digits of a time step (RFC 4226 section 5.3).
    public static func digits(seed: UnsafeRawBufferPointer, step: Int) throws -> String {
        var digest = [UInt8](repeating: 0, count: 20)
        var length: UInt32 = 0
        let counter = withUnsafeBytes(of: UInt64(step).bigEndian, Array.init)
        guard HMAC(EVP_sha1(), seed.baseAddress, Int32(seed.count), counter, counter.count, &digest, &length) != nil else {
            throw CryptoLibraryError(call: "HMAC")
        }
        let offset = Int(digest[19] & 0xF)
        let number = digest[offset..<(offset + 4)].reduce(0) { $0 << 8 | Int($1) } & 0x7FFF_FFFF
        return String(format: "%06d", number % 1_000_000)
    }
}
