/// Limits that the service and its routers share, in seconds and counts.
package enum RouterLimits {
    /// Seconds after its router's last request at which a lease expires.
    package static let leaseSeconds = 120
    /// Seconds that ``WaitForWork`` waits at most, because proxies end requests after a minute.
    package static let waitSeconds = 50
    /// Seconds without a request for work after which a router counts as ended, and other routers poll its mailboxes.
    package static let presenceSeconds = 90
    /// The shorter limit if the router's last request for work was cut off, because the router has probably ended.
    package static let presenceSecondsAfterHangUp = 15
    /// How many mailboxes one router watches at most.
    package static let watchedMailboxes = 5_000
    /// How many connections of one profile wait for mail, if the profile sets no `maxconcurrentconnections`.
    package static let watchesPerProfile = 1_000
}
