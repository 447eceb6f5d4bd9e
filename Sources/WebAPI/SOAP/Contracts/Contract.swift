import Model

/// The namespaces of the Organization service's contracts.
enum Contract {
    static let services = "http://schemas.microsoft.com/xrm/2011/Contracts/Services"
    static let xrm = "http://schemas.microsoft.com/xrm/2011/Contracts"
    static let crm = "http://schemas.microsoft.com/crm/2011/Contracts"
    static let many = "http://schemas.microsoft.com/xrm/2012/Contracts"
    static let organization = "http://schemas.microsoft.com/xrm/2014/Contracts"
    static let keys = "http://schemas.microsoft.com/xrm/7.1/Contracts"
    static let metadata = "http://schemas.microsoft.com/xrm/2011/Metadata"
    static let metadata2013 = "http://schemas.microsoft.com/xrm/2013/Metadata"
    static let metadata71 = "http://schemas.microsoft.com/xrm/7.1/Metadata"
    static let discovery = "http://schemas.microsoft.com/xrm/2011/Contracts/Discovery"
    static let pairs = "http://schemas.datacontract.org/2004/07/System.Collections.Generic"
    static let serialization = "http://schemas.microsoft.com/2003/10/Serialization/"
    static let arrays = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"

    /// The version that clients see: the last one of Dynamics 365's on-premises line.
    static let version = "9.1.0.0"
    static let emptyID = "00000000-0000-0000-0000-000000000000"

    /// Whether a namespace is a namespace of the contracts.
    static func isContract(_ namespace: String) -> Bool {
        namespace.hasPrefix("http://schemas.microsoft.com/") || namespace.hasPrefix("http://schemas.datacontract.org/")
    }
}

extension String {
    /// A client's text for use in a message, cut to 100 characters.
    var quotedForFault: String { "'\(prefix(100))'" }
}
