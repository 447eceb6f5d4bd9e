internal import CPKCS11
import Glibc

/// Loads PKCS#11 modules and finds tokens.
enum KeyTokenModule {
    /// The mode bits that let other users replace a file.
    private static let othersWrite = 0o022

    /// The functions of the module at a path. A module stays loaded, because many can't be unloaded.
    ///
    /// - Throws: ``KeyTokenProblem`` for a file that another user could replace. The module's code runs in this process and can
    ///   reach all keys.
    static func functions(_ path: String) throws -> CK_FUNCTION_LIST {
        guard path.hasPrefix("/") else { throw KeyTokenProblem.module(path, "its path is not absolute") }
        guard let status = FileStatus(path: path) else { throw KeyTokenProblem.module(path, String(cString: strerror(errno))) }
        guard status.isRegular else { throw KeyTokenProblem.module(path, "it is no regular file") }
        guard status.owner == 0 || status.owner == geteuid(), status.mode & othersWrite == 0 else {
            throw KeyTokenProblem.module(
                path,
                "a user other than root and the program's own could replace it: let root own it, and let no group or others write "
                    + "to it (chown root, chmod go-w)")
        }
        guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
            throw KeyTokenProblem.module(path, dlerror().map { String(cString: $0) } ?? "it can't be loaded")
        }
        guard let symbol = dlsym(handle, "C_GetFunctionList") else {
            throw KeyTokenProblem.module(path, "it has no function C_GetFunctionList, so it is no PKCS#11 module")
        }
        let lookUp = unsafeBitCast(symbol, to: CK_C_GetFunctionList.self)
        var list: UnsafeMutablePointer<CK_FUNCTION_LIST>?
        guard lookUp(&list) == CKR_OK, let list else { throw KeyTokenProblem.module(path, "C_GetFunctionList failed") }
        return list.pointee
    }

    /// The slot of the token with the label.
    static func slot(of place: KeyTokenPlace, _ functions: CK_FUNCTION_LIST) throws -> CK_ULONG {
        let isPresent: CK_BYTE = 1
        var count: CK_ULONG = 0
        try KeyToken.check("C_GetSlotList", functions.C_GetSlotList?(isPresent, nil, &count), place)
        var slots = [CK_ULONG](repeating: 0, count: Int(count))
        try KeyToken.check("C_GetSlotList", functions.C_GetSlotList?(isPresent, &slots, &count), place)
        var labels: [String] = []
        var found: [(slot: CK_ULONG, flags: CK_ULONG)] = []
        for slot in slots.prefix(Int(count)) {
            var info = CK_TOKEN_INFO()
            // If a token was removed meanwhile, its slot reports that, and the search continues.
            guard functions.C_GetTokenInfo?(slot, &info) == CKR_OK else { continue }
            let label = withUnsafeBytes(of: info.label) { String(decoding: $0, as: UTF8.self) }
            let trimmed = String(label.reversed().drop { $0 == " " || $0 == "\0" }.reversed())
            labels.append(trimmed)
            if trimmed == place.token { found.append((slot, info.flags)) }
        }
        guard let token = found.first else { throw KeyTokenProblem.noToken(place, labels.filter { !$0.isEmpty }) }
        guard found.count == 1 else { throw KeyTokenProblem.severalTokens(place) }
        guard token.flags & CKF_USER_PIN_LOCKED == 0 else { throw KeyTokenProblem.lockedPIN(place) }
        guard token.flags & CKF_USER_PIN_FINAL_TRY == 0 else { throw KeyTokenProblem.lastTry(place) }
        return token.slot
    }
}
