// The keyboard shortcuts, on a page that lists them and turns them off.
extension Console {
    @Sendable func shortcuts(_ visit: Visit) async throws -> PageResponse {
        func key(_ strokes: [String], _ text: String) -> [String: Any] { ["strokes": strokes, "text": text] }
        let places = Navigation.items(visit).compactMap { item in
            Navigation.keys[item.text].map { key(["g", $0], visit.text(item.text)) }
        }
        let lists = [
            key(["j"], visit.text("keyNext")), key(["k"], visit.text("keyPrevious")), key(["Enter"], visit.text("keyOpen")),
            key(["x"], visit.text("keyChoose")), key(["n"], visit.text("keyNew")), key(["h"], visit.text("keyPageBack")),
            key(["l"], visit.text("keyPageOn")),
        ]
        let groups: [[String: Any]] = [
            [
                "title": visit.text("shortcutsEverywhere"),
                "keys": [key(["?"], visit.text("shortcuts")), key(["/"], visit.text("keySearch"))],
            ],
            ["title": visit.text("shortcutsLists"), "keys": lists], ["title": visit.text("shortcutsPlaces"), "keys": places],
        ]
        return .page("shortcuts", ["title": visit.text("shortcuts"), "lead": visit.text("shortcutsLead"), "groups": groups])
    }
}
