/// A stream of COPY that does not have the binary format.
package struct MalformedCopy: Error, CustomStringConvertible {
    package init() {}

    package var description: String { "PostgreSQL sent a COPY stream that does not have the binary format" }
}
