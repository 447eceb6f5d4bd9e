/// Why the settings can't be used.
enum SettingsError: Error, CustomStringConvertible {
    case missing([String])
    case malformed(String)
    /// A file in the working folder that another user could have written.
    case foreign(String, reason: String)
    case unknownKey(String, String, [String])
    case unknownVariable(String, nearest: String?)
    /// An invalid value, and its place.
    case misfit(key: String, takes: String, given: String, place: String)
    case required(String)
    /// A setting that operators may expect and that does not exist, its place, and advice.
    case unsupported(String, String, advice: String)
    /// Settings that exclude each other.
    case several([String])

    var description: String {
        switch self {
        case .missing(let paths):
            "there are no settings at \(paths.joined(separator: " or ")); name a file with --settings, "
                + "or start a deployment for trying with `fieldseal dev`"
        case .malformed(let problem): problem
        case .foreign(let path, let reason):
            "the settings in the working folder are not used, because another user could change \(path): \(reason). "
                + "To use the file anyway, name it with --settings"
        case .unknownKey(let key, let place, let keys):
            "\(place) has the unknown key \(key)"
                + (SettingsVariables.nearest(to: key, keys).map { "; the nearest is \($0)" } ?? "")
                + "; known are \(keys.sorted().joined(separator: ", "))"
        case .unknownVariable(let name, let nearest):
            "the environment has the unknown variable \(name)"
                + (nearest.map { "; the nearest is \($0)" } ?? "") + ". Correct its name, or unset it"
        case .misfit(let key, let expectation, let given, let place): "\(key) takes \(expectation), not \(given) (\(place))"
        case .required("kekFile"): "the settings lack kekFile, or one of kek.credential, kek.command and kek.pkcs11"
        case .required(let key): "the settings lack \(key)"
        case .unsupported(let key, let place, let advice): "\(place) has \(key), which is not supported; \(advice)"
        case .several(let keys): "the settings have \(keys.joined(separator: " and ")): keep one of them"
        }
    }
}
