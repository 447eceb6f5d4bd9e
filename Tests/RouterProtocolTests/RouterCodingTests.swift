import Foundation
import Model
import RouterProtocol
import Testing

@Suite("Messages between the service and its routers")
struct RouterCodingTests {
    private func names(_ message: some Encodable) throws -> [String] {
        let object = try JSONSerialization.jsonObject(with: try RouterCoding.encoder.encode(message))
        return try #require(object as? [String: Any]).keys.sorted()
    }

    @Test("A router cuts a subject to the length that a record can hold")
    func subject() {
        #expect(IncomingLimits.subjectUnits == EntityDefinition.emailSubjectUnits)
    }

    @Test("The JSON names of requests begin with a capital letter")
    func capitals() throws {
        #expect(
            try names(WaitForWork.Request(hostId: "h", seconds: 1))
                == ["HostId", "IsLeaving", "Seconds", "WantsWork", "Watching"])
        #expect(try names(MailboxLease.Request(hostId: "h", mailboxId: nil)) == ["HostId"])
    }

    @Test("A list in a response has OData's name `value`")
    func list() throws {
        #expect(try names(IncomingDelivery.Answer(value: [])) == ["value"])
        let text = #"{"value":[{"ShouldDeliver":true,"ReasonCode":5,"EmailId":null}]}"#
        let answer = try JSONDecoder().decode(IncomingDelivery.Answer.self, from: Data(text.utf8))
        #expect(answer.value.map(\.reasonCode) == [5])
    }

    @Test("In a lease's JSON, each kind of work is a separate Boolean member")
    func work() throws {
        for work: MailboxLease.Work in [[], .receiving, [.sending, .testing], [.receiving, .sending, .testing]] {
            let lease = MailboxLease(
                mailboxId: "m", name: "", address: "", isForward: false, work: work, serverType: 1, deletesAfterProcessing: false,
                processesReceivedAfter: nil, timeout: 60, routerState: nil, undeliverableFolder: nil, attachmentLimit: 0,
                setAside: nil, revision: "")
            let data = try RouterCoding.encoder.encode(lease)
            let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
            #expect(object["Receives"] as? Bool == work.contains(.receiving))
            #expect(object["Sends"] as? Bool == work.contains(.sending))
            #expect(object["Tests"] as? Bool == work.contains(.testing))
            let read = try RouterCoding.decoder.decode(MailboxLease.self, from: data)
            #expect([read.receives, read.sends, read.tests] == [lease.receives, lease.sends, lease.tests])
        }
    }
}
