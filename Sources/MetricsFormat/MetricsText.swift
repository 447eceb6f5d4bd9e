/// Writes metrics in the text formats of Prometheus.
package struct MetricsText: Sendable {
    /// The two formats that scrapers request.
    package enum Format: Sendable {
        /// OpenMetrics 1.0.0.
        case openMetrics
        /// Prometheus' own text format, version 0.0.4.
        case prometheus

        /// The format that a request's `Accept` header asks for.
        package init(accept: String?) {
            self = accept?.contains("application/openmetrics-text") == true ? .openMetrics : .prometheus
        }

        /// The `Content-Type` of the text.
        package var contentType: String {
            switch self {
            case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
            }
        }
    }

    /// One value of a metric.
    package struct Sample: Sendable {
        let labels: [(name: String, value: String)]
        let value: Double

        /// - Parameter labels: In the order in which they are written.
        package init(_ labels: KeyValuePairs<String, String> = [:], _ value: Double) {
            self.labels = labels.map { ($0.key, $0.value) }
            self.value = value
        }
    }

    /// A histogram of durations.
    package struct Histogram: Sendable {
        /// Upper bounds in seconds, ascending.
        let bounds: [Double]
        private(set) var counts: [Int]
        private(set) var sum = 0.0

        /// - Parameter bounds: Upper bounds in seconds, ascending. An infinite bound is added.
        package init(bounds: [Double]) {
            self.bounds = bounds
            counts = Array(repeating: 0, count: bounds.count + 1)
        }

        /// Counts one duration in seconds.
        package mutating func add(_ seconds: Double) {
            counts[bounds.firstIndex { seconds <= $0 } ?? bounds.count] += 1
            sum += seconds
        }
    }

    private let format: Format
    private var lines: [String] = []

    package init(_ format: Format) { self.format = format }

    /// The whole text.
    package var text: String { (lines + (format == .openMetrics ? ["# EOF"] : [])).joined(separator: "\n") + "\n" }

    /// A counter, which only grows until the program restarts.
    ///
    /// - Parameter name: The name without `_total`, which the samples get.
    package mutating func counter(_ name: String, _ help: String, _ samples: [Sample]) {
        family(format == .openMetrics ? name : "\(name)_total", "counter", help)
        for sample in samples { add("\(name)_total", sample) }
    }

    /// A gauge, which rises and falls.
    package mutating func gauge(_ name: String, _ help: String, _ samples: [Sample]) {
        family(name, "gauge", help)
        for sample in samples { add(name, sample) }
    }

    /// An info metric: labels that do not change while the program runs.
    ///
    /// - Parameter name: The name without `_info`, which the sample gets.
    package mutating func info(_ name: String, _ help: String, _ labels: KeyValuePairs<String, String>) {
        info(name, help, each: [labels])
    }

    /// Writes an info metric with several samples, each with its own labels.
    package mutating func info(_ name: String, _ help: String, each lines: [KeyValuePairs<String, String>]) {
        family(format == .openMetrics ? name : "\(name)_info", format == .openMetrics ? "info" : "gauge", help)
        for labels in lines { add("\(name)_info", Sample(labels, 1)) }
    }

    /// A histogram for each value of a label.
    package mutating func histogram(_ name: String, _ help: String, _ label: String, _ values: [(String, Histogram)]) {
        family(name, "histogram", help)
        for (value, histogram) in values {
            var total = 0
            for (index, count) in histogram.counts.enumerated() {
                total += count
                // OpenMetrics requires a fraction in a bound, such as `1.0`. Swift's text of a Double has one.
                let bound = index < histogram.bounds.count ? "\(histogram.bounds[index])" : "+Inf"
                add("\(name)_bucket", Sample([label: value, "le": bound], Double(total)))
            }
            add("\(name)_count", Sample([label: value], Double(total)))
            add("\(name)_sum", Sample([label: value], histogram.sum))
        }
    }

    private mutating func family(_ name: String, _ type: String, _ help: String) {
        lines += ["# HELP \(name) \(Self.escaped(help))", "# TYPE \(name) \(type)"]
    }

    private mutating func add(_ name: String, _ sample: Sample) {
        let labels = sample.labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
        lines.append("\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(Self.number(sample.value))")
    }

    /// Formats whole numbers without a fraction.
    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}
