/// Limits that the service and its routers share, in seconds and counts.
package enum RouterLimits {
    /// A lease expires this many seconds after its router's last request.
    package static let leaseSeconds = 120
    /// Seconds that ``WaitForWork`` waits at most, because proxies end requests after a minute.
    package static let waitSeconds = 50
    /// After this many seconds without a request for work, a router counts as ended, and other routers poll its mailboxes.
    package static let presenceSeconds = 90
    /// The same limit for a router whose last request for work was cut off. This limit is shorter, because such a router has
    /// probably ended.
    package static let presenceSecondsAfterHangUp = 15
    /// How many mailboxes one router watches at most.
    package static let watchedMailboxes = 5_000
    /// How many connections of one profile wait for mail, if the profile sets no `maxconcurrentconnections`.
    package static let watchesPerProfile = 1_000
}
