import COpenSSL
import Glibc
import Synchronization

/// Memory for secrets: pages that are locked into RAM, excluded from core dumps, and empty in a forked process.
///
/// Locking needs RLIMIT_MEMLOCK. Beyond that limit, pages are not locked and may be swapped out. ``isLocked`` reports that.
public enum SecretMemory {
    /// Blocks of one size: a power of two from 64 bytes to 4 KiB. Longer secrets have their own pages.
    private struct Blocks {
        var free: [UnsafeMutableRawPointer] = []
    }

    private struct Pool: @unchecked Sendable {
        // Sendable: the pool is accessed only under its lock, and nothing else refers to a block in it.
        var blocks = [Blocks](repeating: Blocks(), count: 7)
        var isLocked = true
    }

    private static let pool = Mutex(Pool())
    private static let smallest = 64
    private static let largest = smallest << 6
    /// How many bytes are requested from the kernel at a time.
    private static let chunk = 64 << 10

    /// True if every page that was allocated so far is locked into RAM.
    public static var isLocked: Bool { pool.withLock(\.isLocked) }

    /// A block of at least `count` bytes, all zero.
    static func allocate(_ count: Int) -> UnsafeMutableRawPointer {
        guard count <= largest else { return pages(length(count)) }
        let index = sizeClass(count)
        let block = pool.withLock { pool -> Address in
            if pool.blocks[index].free.isEmpty {
                let base = pages(chunk, &pool)
                let size = smallest << index
                pool.blocks[index].free = stride(from: 0, to: chunk, by: size).map { base + $0 }
            }
            return Address(pointer: pool.blocks[index].free.removeLast())
        }
        return block.pointer
    }

    /// Wipes a block and returns it to the pool.
    static func free(_ block: UnsafeMutableRawPointer, _ count: Int) {
        OPENSSL_cleanse(block, count)
        guard count <= largest else {
            munmap(block, length(count))
            return
        }
        let address = Address(pointer: block)
        pool.withLock { $0.blocks[sizeClass(count)].free.append(address.pointer) }
    }

    private struct Address: @unchecked Sendable {
        // Sendable: this value passes a block from one thread to another. Only one of the two threads uses the block at a time.
        let pointer: UnsafeMutableRawPointer
    }

    private static func sizeClass(_ count: Int) -> Int {
        var index = 0
        while smallest << index < count { index += 1 }
        return index
    }

    /// The number of bytes, rounded up to whole pages.
    private static func length(_ count: Int) -> Int { (count + 4_095) & ~4_095 }

    private static func pages(_ length: Int) -> UnsafeMutableRawPointer {
        pool.withLock { Address(pointer: pages(length, &$0)) }.pointer
    }

    private static func pages(_ length: Int, _ pool: inout Pool) -> UnsafeMutableRawPointer {
        let base = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let base, base != MAP_FAILED else { preconditionFailure("no memory is left for secrets") }
        if mlock(base, length) != 0 { pool.isLocked = false }
        madvise(base, length, MADV_DONTDUMP)
        madvise(base, length, MADV_WIPEONFORK)
        return base
    }
}
