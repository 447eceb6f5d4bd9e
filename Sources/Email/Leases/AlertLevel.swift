/// How serious an alert is (`tracelog.level`).
enum AlertLevel: Int {
    case information = 1
    case warning, error
}
