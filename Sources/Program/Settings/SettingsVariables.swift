/// The settings of the environment, which go before the file.
struct SettingsVariables {
    private(set) var values: [(setting: Setting, value: Setting.Value)] = []

    /// Variables of other meanings: where the settings are, and those of this project's tests and measurements.
    private static let others: Set<String> = [
        "FIELDSEAL_HOME", "FIELDSEAL_SETTINGS", "FIELDSEAL_SEED", "FIELDSEAL_STEPS", "FIELDSEAL_QUERIES", "FIELDSEAL_ROUTER_AWAY",
        "FIELDSEAL_ROUTER_KILLS", "FIELDSEAL_ROUTER_SEED",
    ]
    private static let otherPrefixes = ["FIELDSEAL_TEST_", "FIELDSEAL_BENCH_", "FIELDSEAL_FUZZ_"]

    /// Reads what the environment has of the settings, and refuses a variable that is almost one.
    ///
    /// - Throws: ``SettingsError``.
    init(_ environment: [String: String], _ table: [Setting]) throws(SettingsError) {
        for (name, text) in environment.sorted(by: { $0.key < $1.key }) where name.hasPrefix("FIELDSEAL_") {
            guard let setting = table.first(where: { $0.variable == name }) else {
                if Self.isOther(name, text) { continue }
                throw .unknownVariable(name, nearest: Self.nearest(to: name, table.map(\.variable)))
            }
            // Compose files set a variable to nothing where they have none.
            if text.isEmpty { continue }
            values.append((setting, try SettingParser(setting: setting, place: name).value(text, .quoted)))
        }
    }

    private static func isOther(_ name: String, _ text: String) -> Bool {
        // Kubernetes and Docker give containers the addresses of services whose names begin with fieldseal.
        let isLink =
            name.wholeMatch(of: /FIELDSEAL(_[A-Z0-9]+)*_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP))(_[A-Z0-9_]+)?/) != nil
            || name.hasSuffix("_PORT") && text.wholeMatch(of: /(tcp|udp):\/\/.*/) != nil
        return others.contains(name) || otherPrefixes.contains(where: name.hasPrefix) || isLink
    }

    /// The name that needs the fewest changes of one character.
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
