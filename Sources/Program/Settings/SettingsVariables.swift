/// The settings in environment variables, which override the file.
struct SettingsVariables {
    private(set) var values: [(setting: Setting, value: Setting.Value)] = []

    /// Variables with other meanings: the settings' location, and those of this project's tests and benchmarks.
    private static let others: Set<String> = [
        "FIELDSEAL_HOME", "FIELDSEAL_SETTINGS", "FIELDSEAL_SEED", "FIELDSEAL_STEPS", "FIELDSEAL_QUERIES", "FIELDSEAL_ROUTER_AWAY",
        "FIELDSEAL_ROUTER_KILLS", "FIELDSEAL_ROUTER_SEED",
    ]
    private static let otherPrefixes = ["FIELDSEAL_TEST_", "FIELDSEAL_BENCH_", "FIELDSEAL_FUZZ_"]

    /// Reads the environment's settings. Refuses a variable that begins with `FIELDSEAL_` and is not known.
    ///
    /// - Throws: ``SettingsError``.
    init(_ environment: [String: String], _ table: [Setting]) throws(SettingsError) {
        for (name, text) in environment.sorted(by: { $0.key < $1.key }) where name.hasPrefix("FIELDSEAL_") {
            guard let setting = table.first(where: { $0.variable == name }) else {
                if Self.isOther(name, text) { continue }
                throw .unknownVariable(name, nearest: Self.nearest(to: name, table.map(\.variable)))
            }
            // Compose files set an undefined variable to an empty value.
            if text.isEmpty { continue }
            values.append((setting, try SettingParser(setting: setting, place: name).value(text, .quoted)))
        }
    }

    private static func isOther(_ name: String, _ text: String) -> Bool {
        // Kubernetes and Docker set variables for services whose names begin with fieldseal.
        let isLink =
            name.wholeMatch(of: /FIELDSEAL(_[A-Z0-9]+)*_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP))(_[A-Z0-9_]+)?/) != nil
            || name.hasSuffix("_PORT") && text.wholeMatch(of: /(tcp|udp):\/\/.*/) != nil
        return others.contains(name) || otherPrefixes.contains(where: name.hasPrefix) || isLink
    }

    /// The known name with the fewest differences.
    static func nearest(to name: String, _ names: [String]) -> String? {
        names.min { distance($0, name) < distance($1, name) }
    }

    /// Levenshtein's distance.
    private static func distance(_ first: String, _ second: String) -> Int {
        let (first, second) = (Array(first), Array(second))
        var row = Array(0...second.count)
        for (i, a) in first.enumerated() {
            var previous = row[0]
            row[0] = i + 1
            for (j, b) in second.enumerated() {
                let cost = min(row[j] + 1, row[j + 1] + 1, previous + (a == b ? 0 : 1))
                previous = row[j + 1]
                row[j + 1] = cost
            }
        }
        return row[second.count]
    }
}
