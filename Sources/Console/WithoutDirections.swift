extension String {
    /// The text without characters that change the direction of text, so that it is read in the order in which it is written.
    var withoutDirections: String {
        let kept = unicodeScalars.filter { !(0x202A...0x202E).contains($0.value) && !(0x2066...0x2069).contains($0.value) }
        return String(String.UnicodeScalarView(kept))
    }
}
