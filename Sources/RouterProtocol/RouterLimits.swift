/// What the service and its routers both rely on, in seconds and counts.
public enum RouterLimits {
    /// Seconds that a lease lasts after its router's last request about it.
    public static let leaseSeconds = 120
    /// Seconds that ``WaitForWork`` waits at most: proxies end requests that take a minute.
    public static let waitSeconds = 50
    /// Seconds after which a router that did not ask for work counts as gone, and its mailboxes are polled by others.
    public static let presenceSeconds = 90
    /// Seconds for the same after the router's request for work broke off.
    public static let presenceSecondsAfterHangUp = 15
    /// Mailboxes that one router watches at most.
    public static let watchedMailboxes = 5_000
    /// Connections of one profile that wait for mail, where the profile sets no `maxconcurrentconnections`.
    public static let watchesPerProfile = 1_000
}
