import CellCrypto
import Foundation
import JSON

/// The result of a change of many mailboxes. The address of the list that is shown next contains the result, sealed for the person.
/// So the list still shows the result when it is loaded again.
struct BulkResult {
    /// A mailbox that was not changed.
    struct Failure {
        let id: UUID
        /// The mailbox's name in the list.
        let name: String
        /// The reason, in the reader's language.
        let reason: String
    }

    let action: MailboxAction
    /// How many mailboxes were changed, and how many already had the wanted state.
    var changed = 0
    var unchanged = 0
    var failures: [Failure] = []
    /// What was missing, in the reader's language, so that no change was tried; nil if nothing was missing.
    var problem: String?
    /// The mailboxes that stay ticked: those that were not changed.
    var ticked: [UUID] = []
    /// The typed name of a server profile; nil after a change.
    var profile: String?
    /// Whether the person answered the question with *Cancel*.
    var isCancelled = false

    /// How many failures have their mailbox's name in the address. The page can't read the name of a deleted mailbox from the
    /// database.
    static let namedLimit = 20
    /// How many bytes the names and reasons have together. Servers between the service and the browser accept addresses of 8
    /// KiB.
    private static let textLimit = 2_500
    private static let nameLimit = 60
    private static let reasonLimit = 400
    private static let profileLimit = 400

    init(_ action: MailboxAction) { self.action = action }

    mutating func fail(_ id: UUID, _ name: String, _ reason: String) {
        failures.append(Failure(id: id, name: String(name.prefix(Self.nameLimit)), reason: String(reason.prefix(Self.reasonLimit))))
        ticked.append(id)
    }

    // MARK: In the address

    /// The failures, beginning with the first failure of each reason, so that each reason has a named mailbox.
    private var ordered: [Failure] {
        var known: Set<String> = []
        let firsts = Set(failures.indices.filter { known.insert(failures[$0].reason).inserted })
        return failures.indices.filter(firsts.contains).map { failures[$0] }
            + failures.indices.filter { !firsts.contains($0) }.map { failures[$0] }
    }

    /// The fields of a sealed form. The form has each reason once. The form does not name all mailboxes: the page reads the other
    /// names from the database.
    var fields: [String: String] {
        let ordered = ordered
        let ticked = ordered.isEmpty ? ticked : ordered.map(\.id)
        var reasons: [String] = []
        var places: [String] = []
        var names: [JSONValue] = []
        var size = 0
        for failure in ordered {
            if !reasons.contains(failure.reason), size + failure.reason.utf8.count <= Self.textLimit || reasons.isEmpty {
                size += failure.reason.utf8.count
                reasons.append(failure.reason)
            }
            places.append(reasons.firstIndex(of: failure.reason).map { "\($0)" } ?? "")
        }
        for failure in ordered.prefix(Self.namedLimit) {
            size += failure.name.utf8.count
            guard size <= Self.textLimit else { break }
            names.append(.string(failure.name))
        }
        let bytes = ticked.flatMap { id in withUnsafeBytes(of: id.uuid) { Array($0) } }
        return [
            "profile": String((profile ?? "").prefix(Self.profileLimit)), "cancelled": isCancelled ? "1" : "",
            "action": action.rawValue, "changed": "\(changed)", "unchanged": "\(unchanged)", "failed": "\(failures.count)",
            "problem": String((problem ?? "").prefix(Self.reasonLimit)), "ticked": Data(bytes).base64URL,
            "names": String(decoding: JSONValue.array(names).utf8, as: UTF8.self), "places": places.joined(separator: ","),
            "reasons": String(decoding: JSONValue.array(reasons.map { .string($0) }).utf8, as: UTF8.self),
        ]
    }

    /// How many mailboxes were not changed. ``failures`` has fewer mailboxes if the address had no room for all reasons.
    private(set) var failed = 0

    init?(_ fields: [String: String]) {
        func number(_ name: String) -> Int { fields[name].flatMap { Int($0) } ?? 0 }
        func list(_ name: String) -> [JSONValue] {
            if case .array(let items)? = try? JSONParser.parse(Array((fields[name] ?? "").utf8)) { items } else { [] }
        }
        guard let action = fields["action"].flatMap(MailboxAction.init(rawValue:)) else { return nil }
        self.action = action
        (changed, unchanged, failed) = (number("changed"), number("unchanged"), number("failed"))
        profile = fields["profile"].flatMap { $0.isEmpty ? nil : $0 }
        isCancelled = fields["cancelled"] == "1"
        problem = fields["problem"].flatMap { $0.isEmpty ? nil : $0 }
        let bytes = Data(base64URL: fields["ticked"] ?? "").map(Array.init) ?? []
        ticked = stride(from: 0, to: bytes.count - bytes.count % 16, by: 16).map { start in
            bytes[start..<start + 16].withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
        }
        let (reasons, names) = (list("reasons").compactMap(\.string), list("names").map { $0.string ?? "" })
        let places = (fields["places"] ?? "").split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? -1 }
        failures = zip(ticked, places).enumerated().compactMap { index, entry in
            guard reasons.indices.contains(entry.1) else { return nil }
            return Failure(id: entry.0, name: index < names.count ? names[index] : "", reason: reasons[entry.1])
        }
    }

    // MARK: In words

    /// What was done, such as "19 addresses were approved. 1 was approved already."
    func said(_ texts: Texts) -> String? {
        let changed = changed > 0 || unchanged == 0 && failed == 0 ? texts.count("bulkDone:\(action.rawValue)", changed) : nil
        let unchanged = unchanged > 0 ? texts.count("bulkAlready:\(action.rawValue)", unchanged) : nil
        guard problem == nil, !isCancelled, changed != nil || unchanged != nil else { return nil }
        return [changed, unchanged].compactMap { $0 }.joined(separator: " ")
    }
}
