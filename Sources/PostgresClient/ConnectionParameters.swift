import CLibPQ

/// What a connection string says, keyword by keyword.
public enum ConnectionParameters {
    /// The keywords and values of a connection string or URI, without libpq's defaults.
    ///
    /// - Throws: ``PostgresError`` of kind `usage` when it is malformed; its words quote the string, and are not kept.
    public static func parse(_ conninfo: String) throws -> [(keyword: String, value: String)] {
        guard let options = PQconninfoParse(conninfo, nil) else {
            throw PostgresError(kind: .usage, message: "the connection string is malformed")
        }
        defer { PQconninfoFree(options) }
        var parameters: [(String, String)] = []
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { parameters.append((String(cString: keyword), String(cString: value))) }
            option += 1
        }
        return parameters
    }
}
