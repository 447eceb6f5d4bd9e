/// One part of a batch: a request, or a change set, of which all changes succeed or none.
enum BatchPart {
    case request(BatchItem)
    case changeSet([BatchItem])
}
