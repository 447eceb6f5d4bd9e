import COpenSSL
import Glibc

/// Protects a process with keys from other processes.
public enum ProcessProtection {
    /// Prevents core dumps of this process, including those that the kernel pipes to a program. Also prevents processes of the same
    /// user from tracing it or reading its memory.
    ///
    /// - Returns: True if all of these protections are in effect.
    @discardableResult
    public static func apply() -> Bool {
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        let limited = setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none) == 0
        return fieldseal_forbid_dumps() == 0 && limited
    }
}
