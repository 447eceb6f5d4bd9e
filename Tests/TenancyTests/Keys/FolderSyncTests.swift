import Foundation
import Testing

@testable import Tenancy

@Suite("The entries of a folder on the disk")
struct FolderSyncTests {
    @Test("An entry of a folder is waited for; of a folder that is missing, or is a file, it can't be")
    func waiting() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
        #expect(!FolderSync.waitForEntry(of: "\(folder)/kek"))
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        #expect(FileManager.default.createFile(atPath: "\(folder)/kek", contents: nil))
        #expect(FolderSync.waitForEntry(of: "\(folder)/kek"))
        #expect(!FolderSync.waitForEntry(of: "\(folder)/kek/below"))
    }
}
