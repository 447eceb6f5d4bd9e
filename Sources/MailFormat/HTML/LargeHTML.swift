import Foundation

/// HTML of a message that is too large for its record.
///
/// The pictures inside of the HTML become attachments. If the text is still too large, it is cut at a place outside of tags. What
/// follows the cut is added as text without markup.
package struct LargeHTML {
    package private(set) var text = ""
    /// The pictures that were inside of the HTML. The text refers to the pictures by their Content-ID.
    package private(set) var pictures: [MailMessage.Attachment] = []
    /// Whether something was left out, or lost its layout.
    package private(set) var isCut = false

    /// The Content-IDs of the pictures, by their addresses.
    private var known: [String: String] = [:]

    /// The longest tag and the longest style in bytes. Longer tags and styles are left out of a text that is too large.
    private static let longestTag = 8 << 10
    private static let longestStyle = 64 << 10
    /// A picture becomes an attachment if its tag is longer than this, in bytes.
    private static let shortestPicture = 1 << 10
    private static let pictureLimit = 200
    /// How many open elements get an end tag where the text is cut.
    private static let openLimit = 1_000

    /// - Parameter limit: The maximum length of the text in bytes.
    package init(_ html: String, limit: Int) {
        guard html.utf8.count > limit else {
            text = html
            return
        }
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag(let name, let tag): take(name, tag)
            case .raw(let name, let content): take(contents: content, of: name)
            case .text(let words): text += words
            // The `<` of a tag or a comment without an end is literal.
            case .open(let begin): if begin.utf8.count == 1 { text += "&lt;" }
            }
        }
        if text.utf8.count > limit { cut(to: limit) }
    }

    /// Removes the incomplete tag, comment or style at the end of HTML that was cut at any place.
    package static func withoutOpenEnd(_ html: String) -> String {
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            if case .open(let begin) = token { return String(html[..<begin.startIndex]) }
        }
        return html
    }

    // MARK: Pictures

    private mutating func take(_ name: String, _ tag: Substring) {
        // A comment shows nothing.
        guard !name.hasPrefix("!--") else { return }
        if name == "img", tag.utf8.count > Self.shortestPicture {
            let image = HTMLTag(tag)
            if let address = image["src"], address.prefix(11).lowercased() == "data:image/" {
                text += picture(address, image)
                return
            }
        }
        guard tag.utf8.count <= Self.longestTag else {
            isCut = true
            return
        }
        text += tag
    }

    private mutating func take(contents: Substring, of element: String) {
        switch element {
        case "script": break
        case "style" where contents.utf8.count > Self.longestStyle: isCut = true
        default: text += contents
        }
    }

    /// The tag that refers to a picture's attachment. Without an attachment, the tag has only the picture's size and texts.
    private mutating func picture(_ address: String, _ image: HTMLTag) -> String {
        var tag = "<img"
        if let id = known[address] ?? attach(address) {
            known[address] = id
            tag += " src=\"cid:\(id)\""
        } else {
            isCut = true
        }
        for name in ["alt", "width", "height", "title"] {
            guard let value = image[name], value.utf8.count <= Self.longestTag else { continue }
            tag += " \(name)=\"\(value.replacing("\"", with: "&quot;"))\""
        }
        return tag + ">"
    }

    /// Makes an attachment of a picture.
    ///
    /// - Returns: Its Content-ID; nil if the picture can't be read.
    private mutating func attach(_ address: String) -> String? {
        guard pictures.count < Self.pictureLimit, let comma = address.utf8.firstIndex(of: UInt8(ascii: ",")) else { return nil }
        let words = address[..<comma].lowercased().dropFirst(11).split(separator: ";", omittingEmptySubsequences: false)
        let kind = String(words.first ?? "")
        let isNamed =
            (1...40).contains(kind.count) && kind.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "+-.".contains($0)) }
        // Only white space is skipped. An address with character references or escapes would be decoded wrongly.
        let letters = address[address.utf8.index(after: comma)...].utf8.filter { !$0.isBlank }
        guard isNamed, words.last == "base64", let bytes = Data(base64Encoded: Data(letters)), !bytes.isEmpty else { return nil }
        let number = pictures.count + 1
        let ending = ["jpeg": "jpg", "svg+xml": "svg"][kind] ?? kind
        let id = "picture-\(number)@data.invalid"
        pictures.append(.init(name: "picture-\(number).\(ending)", type: "image/\(kind)", bytes: Array(bytes), contentID: id))
        return id
    }

    // MARK: The end

    /// Cuts the text at a place outside of tags. The text after the cut is added without markup, as far as the limit allows.
    private mutating func cut(to limit: Int) {
        isCut = true
        let (end, open) = Self.lastPlace(in: text, within: limit / 4 * 3)
        let head = text[..<end] + open.reversed().map { "</\($0)>" }.joined()
        let words = PlainText.of(html: String(text[end...]))
        let room = limit - head.utf8.count
        var length = min(room, words.utf8.count)
        var tail = ""
        while length > 0 {
            tail = HTMLText.escaped(String(words.unicodeScalars[..<words.utf8.prefix(length).endIndex]))
            guard tail.utf8.count > room else { break }
            length = length * room / tail.utf8.count - 16
        }
        text = head + (length > 0 ? tail : "")
    }

    /// The last place within the first `size` bytes that is not inside of a tag, and the elements that are open at that place.
    private static func lastPlace(in html: String, within size: Int) -> (end: String.Index, open: [Substring]) {
        let limit = html.utf8.index(html.startIndex, offsetBy: size)
        var (end, open) = (html.startIndex, OpenElements())
        var scanner = TagScanner(html)
        while let token = scanner.next() {
            switch token {
            case .tag(let name, let tag):
                guard tag.endIndex <= limit else { return (end, open.names) }
                open.note(name)
                // The contents of a style are not HTML, so the text can't be cut in them.
                if !TagScanner.rawElements.contains(name) { end = tag.endIndex }
            case .text(let words):
                guard words.endIndex <= limit else {
                    let blank = words.utf8[..<max(limit, words.startIndex)].lastIndex { $0.isBlank }
                    return (blank ?? end, open.names)
                }
                end = words.endIndex
            case .raw, .open: break
            }
        }
        return (end, open.names)
    }

    /// The elements that are open at a place.
    private struct OpenElements {
        private(set) var names: [Substring] = []
        /// How many elements of each name are open, so that an end tag without its element needs no search.
        private var counts: [Substring: Int] = [:]

        mutating func note(_ name: String) {
            if name.hasPrefix("/") {
                guard counts[name.dropFirst(), default: 0] > 0, let place = names.lastIndex(of: name.dropFirst()) else { return }
                for name in names[place...] { counts[name, default: 0] -= 1 }
                names.removeSubrange(place...)
            } else if !LargeHTML.empty.contains(name), !TagScanner.rawElements.contains(name), !name.hasPrefix("!"),
                !name.hasPrefix("?"), names.count < LargeHTML.openLimit
            {
                names.append(name[...])
                counts[name[...], default: 0] += 1
            }
        }
    }

    /// Elements without an end tag.
    private static let empty: Set<String> = [
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
    ]
}
