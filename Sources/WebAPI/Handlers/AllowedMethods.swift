import HTTPTypes
import Hummingbird
import Model

extension WebAPI {
    /// Responds with the methods that an address of the data API accepts (RFC 9110 section 9.3.7). The request needs no token,
    /// because the addresses are public.
    func options(_ request: Request, _ context: APIContext) async throws -> APIResponse {
        let version = try context.parameters.require("version")
        guard DirectResponder.isVersion(version[...].utf8) else { throw ODataPath.unknown(version) }
        let segments = request.uri.path.split(separator: "/", maxSplits: 4, omittingEmptySubsequences: true)
        let path = try ODataPath(segments.count > 4 ? segments[4] : "")
        guard let known = path.allowedMethods else { throw ODataPath.unknown(String(segments.last ?? "")) }
        let methods = known + [.options]
        return APIResponse.noContent([.allow: methods.map(\.rawValue).joined(separator: ", ")])
    }
}

extension ODataPath {
    /// The methods that the address accepts, regardless of the caller's rights; nil for an address that does not exist.
    var allowedMethods: [HTTPRequest.Method]? {
        let read: [HTTPRequest.Method] = [.get, .head]
        switch self {
        case .serviceRoot, .metadata, .description, .definitions, .count, .references: return read
        case .batch: return [.post]
        case .collectionAction(_, let name): return DataAPI.isCollectionAction(name) ? [.post] : nil
        case .entitySet(let entity): return read + (entity.has(.create) ? [.post] : [])
        case .entity(let entity, _):
            return read + (entity.has(.update) ? [.patch, .put] : []) + (entity.has(.delete) ? [.delete] : [])
        case .property(_, _, _, isRaw: true): return read
        case .property(_, _, let attribute, _): return read + (attribute.type.isImage ? [.patch] : []) + [.put, .delete]
        case .navigation(let navigation):
            if navigation.member != nil { return [.delete] }
            if navigation.isReference { return read + (navigation.isCollection ? [.post, .delete] : [.put, .delete]) }
            if navigation.isPartyList { return read + [.put] }
            return read + (navigation.isCreation ? [.post] : [])
        case .association(let path):
            if path.member != nil { return [.delete] }
            return read + (path.isReference ? [.post, .delete] : [])
        case .boundFunction(_, _, let name, _), .operation(let name, _):
            return MetadataOperations.isAction(name).map { $0 ? [.post] : read }
        }
    }
}
