/// QR codes (ISO/IEC 18004) of short texts: byte mode, error correction level M, versions 1 to 10.
struct QRCode {
    /// The modules of one side.
    private var size: Int
    private var modules: [[Bool]]
    private var isFunction: [[Bool]]

    /// By version: data codewords, correction codewords of a block, and number of blocks.
    private static let capacities: [(data: Int, correction: Int, blocks: Int)] = [
        (16, 10, 1), (28, 16, 1), (44, 26, 1), (64, 18, 2), (86, 24, 2), (108, 16, 4), (124, 18, 4), (154, 22, 4), (182, 22, 5),
        (216, 26, 5),
    ]
    private static let alignments = [
        [], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50],
    ]

    /// - Returns: Nil for a text that is too long.
    init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard
            let version = Self.capacities.indices.map({ $0 + 1 }).first(where: {
                bytes.count + ($0 < 10 ? 2 : 3) <= Self.capacities[$0 - 1].data
            })
        else { return nil }
        size = 17 + 4 * version
        modules = Array(repeating: Array(repeating: false, count: size), count: size)
        isFunction = modules
        drawPatterns(version)
        place(Self.codewords(bytes, version))
        var best: (penalty: Int, code: QRCode)?
        for mask in 0..<8 {
            var candidate = self
            candidate.apply(mask)
            candidate.drawFormat(mask)
            let penalty = candidate.penalty
            if penalty < best?.penalty ?? .max { best = (penalty, candidate) }
        }
        if let best { self = best.code }
    }

    /// The code as SVG, black on white in both color schemes, with the quiet zone that scanners need.
    func svg(alternative: String) -> String {
        var path = ""
        for y in 0..<size { for x in 0..<size where modules[y][x] { path += "M\(x + 4) \(y + 4)h1v1h-1z" } }
        let whole = size + 8
        return
            "<svg class=\"qr\" role=\"img\" viewBox=\"0 0 \(whole) \(whole)\" aria-label=\"\(EscapedHTML.escaped(alternative))\" shape-rendering=\"crispEdges\">"
            + "<rect width=\"\(whole)\" height=\"\(whole)\" fill=\"#fff\"/><path fill=\"#000\" d=\"\(path)\"/></svg>"
    }

    // MARK: Data

    private static func codewords(_ bytes: [UInt8], _ version: Int) -> [UInt8] {
        let (total, correction, blocks) = capacities[version - 1]
        var bits: [Bool] = []
        func append(_ value: Int, _ count: Int) { for bit in (0..<count).reversed() { bits.append(value >> bit & 1 == 1) } }
        append(4, 4)
        append(bytes.count, version < 10 ? 8 : 16)
        for byte in bytes { append(Int(byte), 8) }
        append(0, min(4, total * 8 - bits.count))
        while !bits.count.isMultiple(of: 8) { bits.append(false) }
        var data = stride(from: 0, to: bits.count, by: 8).map { start in
            bits[start..<start + 8].reduce(UInt8(0)) { $0 << 1 | ($1 ? 1 : 0) }
        }
        var padding: UInt8 = 0xEC
        while data.count < total {
            data.append(padding)
            padding ^= 0xEC ^ 0x11
        }
        // If the data can't be divided evenly, the last blocks are one codeword longer.
        var parts: [[UInt8]] = []
        var start = 0
        for block in 0..<blocks {
            let length = total / blocks + (block >= blocks - total % blocks ? 1 : 0)
            parts.append(Array(data[start..<start + length]))
            start += length
        }
        let checks = parts.map { remainder($0, generator(correction)) }
        var result: [UInt8] = []
        for index in 0...(total / blocks) { for part in parts where index < part.count { result.append(part[index]) } }
        for index in 0..<correction { for check in checks { result.append(check[index]) } }
        return result
    }

    /// Multiplies in GF(2⁸) modulo x⁸ + x⁴ + x³ + x² + 1.
    private static func multiply(_ one: UInt8, _ other: UInt8) -> UInt8 {
        var product = 0
        for bit in (0..<8).reversed() {
            product = product << 1 ^ (product >> 7) * 0x11D
            product ^= (Int(other) >> bit & 1) * Int(one)
        }
        return UInt8(product)
    }

    private static func generator(_ degree: Int) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: degree - 1) + [1]
        var root: UInt8 = 1
        for _ in 0..<degree {
            for index in 0..<degree {
                result[index] = multiply(result[index], root)
                if index + 1 < degree { result[index] ^= result[index + 1] }
            }
            root = multiply(root, 2)
        }
        return result
    }

    private static func remainder(_ data: [UInt8], _ generator: [UInt8]) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: generator.count)
        for byte in data {
            let factor = byte ^ result.removeFirst()
            result.append(0)
            for index in result.indices { result[index] ^= multiply(generator[index], factor) }
        }
        return result
    }

    // MARK: Patterns

    private mutating func set(_ x: Int, _ y: Int, _ isDark: Bool) {
        modules[y][x] = isDark
        isFunction[y][x] = true
    }

    private mutating func drawPatterns(_ version: Int) {
        for index in 0..<size {
            set(6, index, index.isMultiple(of: 2))
            set(index, 6, index.isMultiple(of: 2))
        }
        for (x, y) in [(3, 3), (size - 4, 3), (3, size - 4)] {
            for dy in -4...4 {
                for dx in -4...4 where (0..<size).contains(x + dx) && (0..<size).contains(y + dy) {
                    let distance = max(abs(dx), abs(dy))
                    set(x + dx, y + dy, distance != 2 && distance != 4)
                }
            }
        }
        let positions = Self.alignments[version - 1]
        for (i, x) in positions.enumerated() {
            for (j, y) in positions.enumerated() {
                let last = positions.count - 1
                if (i, j) == (0, 0) || (i, j) == (0, last) || (i, j) == (last, 0) { continue }
                for dy in -2...2 { for dx in -2...2 { set(x + dx, y + dy, max(abs(dx), abs(dy)) != 1) } }
            }
        }
        drawFormat(0)
        guard version >= 7 else { return }
        var rest = version
        for _ in 0..<12 { rest = rest << 1 ^ (rest >> 11) * 0x1F25 }
        let bits = version << 12 | rest
        for index in 0..<18 {
            let (a, b) = (size - 11 + index % 3, index / 3)
            set(a, b, bits >> index & 1 == 1)
            set(b, a, bits >> index & 1 == 1)
        }
    }

    /// Draws the bits that tell a reader the level M and the mask. The code contains these bits twice.
    private mutating func drawFormat(_ mask: Int) {
        var rest = mask
        for _ in 0..<10 { rest = rest << 1 ^ (rest >> 9) * 0x537 }
        let bits = (mask << 10 | rest) ^ 0x5412
        func bit(_ index: Int) -> Bool { bits >> index & 1 == 1 }
        for index in 0...5 { set(8, index, bit(index)) }
        set(8, 7, bit(6))
        set(8, 8, bit(7))
        set(7, 8, bit(8))
        for index in 9..<15 { set(14 - index, 8, bit(index)) }
        for index in 0..<8 { set(size - 1 - index, 8, bit(index)) }
        for index in 8..<15 { set(8, size - 15 + index, bit(index)) }
        set(8, size - 8, true)
    }

    private mutating func place(_ codewords: [UInt8]) {
        var index = 0
        var right = size - 1
        while right >= 1 {
            if right == 6 { right = 5 }
            for step in 0..<size {
                let isUpward = (right + 1) & 2 == 0
                let y = isUpward ? size - 1 - step : step
                for x in [right, right - 1] where !isFunction[y][x] && index < codewords.count * 8 {
                    modules[y][x] = codewords[index / 8] >> (7 - index % 8) & 1 == 1
                    index += 1
                }
            }
            right -= 2
        }
    }

    private mutating func apply(_ mask: Int) {
        for y in 0..<size {
            for x in 0..<size where !isFunction[y][x] {
                let isInverted =
                    switch mask {
                    case 0: (x + y) % 2 == 0
                    case 1: y % 2 == 0
                    case 2: x % 3 == 0
                    case 3: (x + y) % 3 == 0
                    case 4: (x / 3 + y / 2) % 2 == 0
                    case 5: x * y % 2 + x * y % 3 == 0
                    case 6: (x * y % 2 + x * y % 3) % 2 == 0
                    default: ((x + y) % 2 + x * y % 3) % 2 == 0
                    }
                if isInverted { modules[y][x].toggle() }
            }
        }
    }

    /// A penalty for patterns that are hard to scan: long runs and blocks of one color, and too much of one color. The mask with
    /// the lowest penalty is used; every mask makes a valid code.
    private var penalty: Int {
        var result = 0
        let columns = (0..<size).map { x in (0..<size).map { modules[$0][x] } }
        for line in modules + columns {
            var run = 1
            for index in 1..<size {
                if line[index] == line[index - 1] {
                    run += 1
                    if run == 5 { result += 3 } else if run > 5 { result += 1 }
                } else {
                    run = 1
                }
            }
        }
        for y in 1..<size {
            for x in 1..<size
            where modules[y][x] == modules[y - 1][x] && modules[y][x] == modules[y][x - 1]
                && modules[y][x] == modules[y - 1][x - 1]
            {
                result += 3
            }
        }
        let dark = modules.joined().filter { $0 }.count
        return result + abs(dark * 20 - size * size * 10) / (size * size) * 10
    }
}
