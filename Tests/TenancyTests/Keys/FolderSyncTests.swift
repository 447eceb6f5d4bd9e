import Foundation
import Testing

@testable import Tenancy

@Suite("Waiting until a new file's entry in its folder is on the disk")
struct FolderSyncTests {
    @Test("The call succeeds for a file in a folder, and fails if the folder is missing or is a file")
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
