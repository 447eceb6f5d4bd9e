import Testing

@testable import Email

@Suite("SQL conditions for mailboxes that are due")
struct DueMailboxesTests {
    @Test("The conditions contain the option values of the metadata as numbers")
    func options() {
        #expect(DueMailboxes.receives.contains("incomingemaildeliverymethod IN (2, 3)"))
        #expect(DueMailboxes.sends.contains("outgoingemaildeliverymethod = 2"))
        #expect(DueMailboxes.usesIncoming == "coalesce(m.incomingemaildeliverymethod, 2) IN (2, 3)")
        #expect(DueMailboxes.usesOutgoing == "coalesce(m.outgoingemaildeliverymethod, 2) = 2")
        #expect(DueMailboxes.isActive == "m.statecode = 0 AND p.statecode = 0")
        #expect(DueMailboxes.isAllowed.contains("emailrouteraccessapproval = 1"))
        #expect(DueMailboxes.wasLeft.contains("processingstatecode = 1"))
    }
}
