import CellCrypto
import Crypto
import CryptoExtras
import Foundation
import Model
import SwiftASN1
import X509

/// The algorithms of RFC 7518 that clients may use. `none` and algorithms with a shared secret are excluded.
enum SignatureAlgorithm: String, CaseIterable, Sendable {
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case es256 = "ES256"
    case es384 = "ES384"
    case es512 = "ES512"

    enum Scheme { case pkcs1, pss, ecdsa }
    enum Digest { case sha256, sha384, sha512 }

    var scheme: Scheme {
        switch self {
        case .rs256, .rs384, .rs512: .pkcs1
        case .ps256, .ps384, .ps512: .pss
        case .es256, .es384, .es512: .ecdsa
        }
    }

    var digest: Digest {
        switch self {
        case .rs256, .ps256, .es256: .sha256
        case .rs384, .ps384, .es384: .sha384
        case .rs512, .ps512, .es512: .sha512
        }
    }
}
