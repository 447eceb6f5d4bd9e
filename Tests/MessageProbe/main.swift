import Foundation
import MailFormat

// Parses the messages in a folder, and writes the results as JSON. Tests compare these results with those of other mail programs.

struct Reading: Encodable {
    struct File: Encodable {
        let name: String
        let type: String
        let bytes: String
    }

    let subject: String
    let from: String
    let to: [String]
    let cc: [String]
    let messageID: String
    let references: [String]
    let date: Double?
    let body: String
    let isHTML: Bool
    let notes: [String]
    let attachments: [File]

    init(_ message: MailMessage) {
        (subject, from, to, cc) = (message.subject, message.from, message.to, message.cc)
        (messageID, references) = (message.messageID, message.references)
        date = message.date?.timeIntervalSince1970
        (body, isHTML, notes) = (message.body, message.isHTML, message.notes.map(\.text))
        attachments = message.attachments.map { File(name: $0.name, type: $0.type, bytes: Data($0.bytes).base64EncodedString()) }
    }
}

let folder = URL(filePath: CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : ".")
var readings: [String: Reading] = [:]
for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
where file.pathExtension == "eml" {
    readings[file.deletingPathExtension().lastPathComponent] = Reading(MailMessage(Array(try Data(contentsOf: file))))
}
try FileHandle.standardOutput.write(contentsOf: JSONEncoder().encode(readings))
