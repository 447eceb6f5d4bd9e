// What makes the pages nicer, and nothing that they need.
"use strict";

const text = (key) => document.body.dataset[key] || "";

// Times in the reader's own zone, with seconds; times that are told as "3 minutes ago" keep that, and tell the moment on hover.
function localTimes(root) {
    // In the order and with the names of months that the server writes.
    const days = { year: "numeric", month: "short", day: "numeric" }, moments = { ...days, hour: "2-digit", minute: "2-digit", second: "2-digit" };
    const formats = { day: days, moment: moments, zoned: { ...moments, timeZoneName: "short" } };
    const shown = (moment, kind) => new Intl.DateTimeFormat(text("locale"), formats[kind]).format(moment).replace(/(?<!,) /g, "\u00a0");
    for (const time of root.querySelectorAll("time[datetime]")) {
        const moment = new Date(time.dateTime);
        if (isNaN(moment)) continue;
        // Paper is read elsewhere too.
        if (time.dataset.as === "moment") time.textContent = shown(moment, time.closest(".sheet") ? "zoned" : "moment");
        else if (time.dataset.as === "day") time.textContent = shown(moment, "day");
        else time.title = shown(moment, "moment");
    }
}
localTimes(document);
// Days of filters are the reader's: the form also sends the moments at which they begin and end.
for (const input of document.querySelectorAll("[data-day]")) {
    const moment = input.form.elements[`${input.name}Time`], zone = input.parentElement.querySelector(".zone");
    const take = () => {
        const [year, month, day] = input.value.split("-").map(Number), begin = new Date(year, month - 1, day + Number(input.dataset.day));
        moment.value = input.value && !isNaN(begin) ? begin.toISOString() : "";
        zone.hidden = true;
    };
    // An address without them means days in UTC.
    if (!input.value || moment.value) take();
    input.addEventListener("change", take);
}

// The notice of what was done is for this view of the page: a reload or a bookmark does not repeat it.
const shown = location.href;
{
    const address = new URL(shown);
    // What could not be done stays on the page until it is tried again.
    for (const name of document.querySelector("[data-stays]") ? ["done", "own"] : ["done", "own", "result"]) address.searchParams.delete(name);
    if (address.search !== location.search) history.replaceState(history.state, "", address);
}

// A page that answers a form has the address of a page that can be loaded. A person who leaves it and comes back gets that one, and
// not the browser's error about a form that is not sent again.
function leave() {
    const at = document.body.dataset.answer;
    if (at !== undefined) history.replaceState(history.state, "", at || location.href);
}
document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (link && !event.defaultPrevented && !link.target && !link.getAttribute("href").startsWith("#") && !event.ctrlKey && !event.metaKey && !event.shiftKey) leave();
});

// A form that waits, sealed, for a sign-in at a provider stays with this tab meanwhile. Without storage or this script it waits in
// its page, and the provider has another tab.
const waiting = {
    store: (() => { try { return sessionStorage; } catch { return null; } })(),
    set(form) { this.store.setItem("kept", JSON.stringify(form)); },
    take() {
        const text = this.store?.getItem("kept");
        if (text) this.store.removeItem("kept");
        return text ? JSON.parse(text) : null;
    },
};
function addHidden(form, name, value) {
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name, value });
    form.append(field);
}
for (const link of document.querySelectorAll("a[data-keeps]")) {
    const other = document.querySelector("[data-other-tab]");
    if (!other || !waiting.store) continue;
    other.hidden = true;
    link.addEventListener("click", () => {
        try {
            waiting.set({ action: link.dataset.keeps, kept: other.elements.kept.value });
            link.removeAttribute("target");
        } catch {
            other.hidden = false;
        }
    });
}
function offer(form) {
    const sender = Object.assign(document.createElement("form"), { method: "post", action: form.action, hidden: true });
    addHidden(sender, "kept", form.kept);
    document.body.append(sender);
    sender.submit();
}
// It is offered on the first page after the sign-in. A form that is sent instead takes its place, except a sign-in, which takes it along.
const offered = document.getElementById("nav") ? waiting.take() : null;
if (offered) offer(offered);
document.addEventListener("submit", (event) => {
    const form = waiting.take();
    if (form && event.target.matches("[action$='/sign-in']") && !event.target.elements.kept) addHidden(event.target, "kept", form.kept);
});

// A form that waits for one person outlasts the sign-in of another in this tab, for as long as the service takes it.
const others = {
    lifetime: 1_800_000,
    get all() {
        try { return JSON.parse(waiting.store.getItem("others") ?? "[]").filter((form) => Date.now() - form.time < this.lifetime); } catch { return []; }
    },
    // Without room, the oldest ones go.
    set all(forms) {
        for (let kept = forms.slice(-3); ; kept = kept.slice(1)) {
            try { waiting.store?.setItem("others", JSON.stringify(kept)); return; } catch { if (!kept.length) return; }
        }
    },
};
for (const field of document.querySelectorAll("form[action$='/sign-in'] > [name=kept]")) {
    const rest = others.all.filter((form) => form.kept !== field.value);
    others.all = [...rest, { action: `${new URL(field.form.action).pathname}/kept`, kept: field.value, time: Date.now(), asked: [] }];
}
for (const field of document.querySelectorAll("[data-offered] > :is([name=kept], [name=waits])")) others.all = others.all.filter((form) => form.kept !== field.value);
// Each person who signs in is asked for once: the service opens it for its own person alone.
if (document.body.dataset.user && !offered) (async () => {
    const who = document.body.dataset.user, forms = others.all;
    for (const form of forms) {
        if (form.asked.includes(who) || !location.pathname.startsWith(form.action.replace(/sign-in\/kept$/, ""))) continue;
        form.asked.push(who);
        others.all = forms;
        const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams({ kept: form.kept }) }).catch(() => null);
        if (answer && !answer.redirected && (await answer.text()).includes("data-offered")) { offer(form); return; }
    }
})();

for (const output of document.querySelectorAll("[data-hides]")) {
    const end = Date.now() + Number(output.dataset.hides) * 1000, left = document.querySelector("[data-left]");
    const timer = setInterval(() => {
        const seconds = Math.max(0, Math.ceil((end - Date.now()) / 1000));
        if (left) left.textContent = left.dataset.left.replace("{n}", seconds);
        if (seconds > 0) return;
        clearInterval(timer);
        output.remove();
        for (const button of document.querySelectorAll("[data-copies]")) button.remove();
        for (const gone of document.querySelectorAll("[data-gone]")) gone.hidden = false;
        if (left) left.remove();
    }, 250);
}
for (const button of document.querySelectorAll("[data-copies]")) {
    button.hidden = !navigator.clipboard;
    const label = button.textContent;
    button.addEventListener("click", async () => {
        const source = document.querySelector(button.dataset.copies);
        try {
            await navigator.clipboard.writeText(source.dataset.text || source.textContent);
            button.textContent = text("copied");
        } catch {
            button.textContent = text("notCopied");
        }
        setTimeout(() => { button.textContent = label; }, 3000);
    });
}
for (const button of document.querySelectorAll("[data-prints]")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
}
// The server's own rule for keys, as they are typed.
for (const input of document.querySelectorAll("[data-strength]")) {
    const hint = document.getElementById("strength"), first = hint.textContent, meter = document.getElementById("meter");
    let timer;
    input.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(async () => {
            if (!input.value) { hint.textContent = first; if (meter) meter.hidden = true; return; }
            const answer = await fetch(input.dataset.strength, { method: "POST", body: new URLSearchParams(new FormData(input.form)) });
            if (!answer.ok) return;
            const { text, level } = await answer.json();
            hint.textContent = text;
            if (meter) { meter.hidden = false; meter.value = level; }
        }, 250);
    });
}
// Suggestions of records, for lookups with more records than the page brings along.
for (const input of document.querySelectorAll("[data-lookup]")) {
    let timer;
    input.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(async () => {
            const answer = await fetch(`${input.dataset.lookup}${encodeURIComponent(input.value)}`);
            if (!answer.ok) return;
            const list = document.getElementById(input.getAttribute("list"));
            list.replaceChildren(...(await answer.json()).names.map((name) => { const option = document.createElement("option"); option.value = name; return option; }));
        }, 250);
    });
}
// A mailbox's own password is used only if the checkbox above the field is ticked. Typing a password ticks the checkbox.
const own = document.querySelector("input[type=checkbox][name=allowemailconnectortousecredentials]");
if (own) own.form.elements.password?.addEventListener("input", (event) => { if (event.target.value) own.checked = true; });
// The usual port of incoming mail follows the type of the server. Without a type it is POP3.
for (const type of document.querySelectorAll("select[name=protocol], select[name=servertype]")) {
    const port = type.form.elements.incomingport ?? type.form.elements.incomingportnumber;
    const show = () => { if (port) port.placeholder = ["pop3", "1", ""].includes(type.value) ? "995" : "993"; };
    type.addEventListener("change", show);
    // The browser may have chosen another type when it came back to the page.
    addEventListener("pageshow", show);
}
// Files that are too large together are refused before they are sent.
for (const input of document.querySelectorAll("[data-most]")) {
    input.addEventListener("change", () => {
        const size = [...input.files].reduce((sum, file) => sum + file.size, 0);
        input.setCustomValidity(size > Number(input.dataset.most) ? input.dataset.tooLarge : "");
        input.reportValidity();
    });
}
// A text that is not an address is refused before it is sent, as the service would. It parts lists as the service does.
function addresses(text) {
    const parts = [""];
    let quoted = false, inside = false, escaped = false;
    for (const character of text) {
        if (/[\r\n]/.test(character) || (!quoted && !inside && /[,;]/.test(character))) {
            parts.push("");
            quoted = inside = escaped = false;
            continue;
        }
        parts[parts.length - 1] += character;
        if (escaped) { escaped = false; continue; }
        if (character === "\\") escaped = quoted;
        else if (character === '"') quoted = !quoted;
        else if (character === "<") inside = !quoted;
        else if (character === ">") inside = inside && quoted;
    }
    return parts.map((part) => part.trim()).filter(Boolean);
}
const isAddress = (text) => /^[^\s<>,;"@]+@[^\s<>,;"@]+$/.test(/<([^<>]*)>[^<>]*$/.exec(text)?.[1] ?? text);
for (const input of document.querySelectorAll("[data-wrong-address]")) {
    const check = () => {
        const wrong = addresses(input.value).find((part) => !isAddress(part));
        input.setCustomValidity(wrong ? input.dataset.wrongAddress.replace("{text}", () => wrong) : "");
    };
    input.addEventListener("input", check);
    // The browser may have filled the field in when it came back to the page.
    addEventListener("pageshow", check);
    check();
}
// All rows of a list at once, and how many are chosen.
const chosen = (form) => [...form.querySelectorAll("input[name^='id.']")];
for (const box of document.querySelectorAll("[data-all]")) {
    box.hidden = box.closest("label").hidden = false;
    box.addEventListener("change", () => { for (const other of chosen(box.form)) other.checked = box.checked; });
}
for (const output of document.querySelectorAll("[data-chosen]")) {
    const form = output.closest("form"), all = form.querySelectorAll("[data-all]");
    const count = () => {
        const boxes = chosen(form), number = boxes.filter((box) => box.checked).length;
        output.hidden = number === 0;
        output.textContent = output.dataset[number === 1 ? "one" : "other"].replace("{n}", number);
        for (const box of all) box.checked = number > 0 && number === boxes.length;
    };
    form.addEventListener("change", count);
    // A browser that goes back to this page ticks what was ticked, after this script has run.
    addEventListener("pageshow", count);
    count();
}
// Whether the service answers. What takes longer than some seconds counts as no connection.
async function isReached() {
    try {
        return (await fetch("/assets/favicon.svg", { cache: "no-store", signal: AbortSignal.timeout(8000) })).ok;
    } catch {
        return false;
    }
}
async function reached() { while (!await isReached()) await new Promise((wake) => setTimeout(wake, 1000)); }
// Says something at the pressed button.
function tell(key, style, button, form) {
    const note = Object.assign(document.createElement("p"), { className: style, textContent: text(key) });
    note.dataset.note = key;
    note.setAttribute("role", "alert");
    const place = button?.closest("form > p, form > .save, [data-acts], .actions") ?? button;
    if (place?.isConnected) place.before(note); else form.append(note);
    note.scrollIntoView({ block: "nearest" });
}
const forget = (key) => document.querySelector(`[data-note=${key}]`)?.remove();
// Says at the pressed button that nothing was sent.
function tellOffline(form, button, isOffline) {
    forget("offline");
    if (isOffline) tell("offline", "problem", button, form);
}
// What was typed into a form and not sent is lost when another form or link of the page is used. The first press says so, a second one
// goes on. Ticked rows of a list are not an edit.
const isEdited = (field) => {
    // What a browser fills in by itself is not an edit.
    if (field.type === "hidden" || /current-password|username|one-time-code/.test(field.autocomplete)) return false;
    if (field.type === "file") return field.files.length > 0;
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (!field.options) return field.defaultValue !== undefined && field.value !== field.defaultValue;
    const first = [...field.options].findIndex((option) => option.defaultSelected);
    return field.selectedIndex !== Math.max(0, first);
};
const isUnsent = (form) => !form.dataset.sent && !form.querySelector("[name^='id.'], [data-all]") && [...form.elements].some(isEdited);
let warned = null;
function warn(event, control, form) {
    forget("unsaved");
    const other = [...document.querySelectorAll("main form[method=post]")].find((other) => other !== form && !other.contains(control) && isUnsent(other));
    if (!other || warned === control) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    warned = control;
    tell("unsaved", "warning", control, form);
}
document.addEventListener("submit", (event) => { if (event.target.closest("main")) warn(event, event.submitter ?? event.target, event.target); }, true);
document.addEventListener("click", (event) => {
    const link = event.target.closest("main a.button[href]");
    if (link && !link.target && !event.ctrlKey && !event.metaKey) warn(event, link, null);
}, true);
// A reload or a closed tab would lose a typed e-mail, so the browser asks first. A form that is under way is not asked about.
addEventListener("beforeunload", (event) => {
    if ([...document.querySelectorAll("form[data-keep]")].some(isUnsent)) event.preventDefault();
});
// What is still under way is looked at again, without touching what is being typed.
const live = document.querySelector("[data-live]");
if (live) {
    const look = async () => {
        const answer = await fetch(shown, { headers: { Accept: "text/html" } }).catch(() => null);
        if (!answer || !answer.ok) { setTimeout(look, 3000); return; }
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const now = page.getElementById(live.id), here = document.getElementById(live.id);
        if (!now || !here) { location.reload(); return; }
        if (document.querySelector("form[data-sent]")) { setTimeout(look, 1000); return; }
        const focused = here.contains(document.activeElement) ? document.activeElement.id : "";
        here.replaceWith(now);
        if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
        localTimes(now);
        // What follows from the state, such as a failure's reason and its button.
        for (const beside of document.querySelectorAll("[data-beside]")) {
            const fresh = page.getElementById(beside.id);
            if (fresh && fresh.innerHTML !== beside.innerHTML) beside.innerHTML = fresh.innerHTML;
        }
        const notice = document.querySelector("main > .notice"), said = page.querySelector("main > .notice");
        if (notice && said) notice.replaceWith(said); else if (notice) notice.remove();
        if (now.hasAttribute("data-live")) setTimeout(look, 1000);
    };
    setTimeout(look, 1000);
}
// A key change: its form is sent as ever, and the progress is asked for meanwhile.
for (const form of document.querySelectorAll("[data-progress]")) {
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const button = event.submitter, body = new URLSearchParams(new FormData(form, button));
        const working = document.querySelector(".working"), bar = working.querySelector("progress"), line = working.querySelector("[role=status]");
        const buttons = [...form.querySelectorAll("button")];
        for (const other of buttons) other.disabled = true;
        const answers = await isReached();
        tellOffline(form, button, !answers);
        if (!answers) { for (const other of buttons) other.disabled = false; return; }
        working.hidden = false;
        let done = false, isCut = false;
        const sending = new AbortController();
        const asking = (async () => {
            while (!done) {
                const state = await fetch(form.dataset.progress, { signal: AbortSignal.timeout(8000) }).then((answer) => answer.ok ? answer.json() : {}, () => null);
                if (done) return;
                if (!state) {
                    isCut = true;
                    line.textContent = text("cutOff");
                    bar.removeAttribute("value");
                } else if (state.running) {
                    line.textContent = state.text;
                    if (state.percent === null) bar.removeAttribute("value"); else { bar.max = 100; bar.value = state.percent; }
                } else if (isCut) {
                    // The change ended while there was no connection, and its answer may never come.
                    sending.abort();
                    return;
                }
                await new Promise((wake) => setTimeout(wake, 250));
            }
        })();
        let answer;
        try {
            answer = await fetch(form.action, { method: "POST", body, signal: sending.signal });
        } catch {
            // The change goes on without the connection, and its page says how it ended.
            done = true;
            await asking;
            bar.removeAttribute("value");
            line.textContent = text("cutOff");
            await reached();
            leave();
            location.assign(form.dataset.after);
            return;
        }
        done = true;
        await asking;
        leave();
        if (answer.redirected) { location.assign(answer.url); return; }
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        document.querySelector("main").replaceWith(page.querySelector("main"));
        localTimes(document);
        (document.getElementById("figures") ?? document.querySelector("main")).focus();
    });
}
// A typed password selects its way to sign in, and another way forgets it.
for (const field of document.querySelectorAll("[data-selects]")) {
    const way = document.getElementById(field.dataset.selects);
    field.addEventListener("input", () => { if (field.value) way.checked = true; });
    for (const other of field.form.elements[way.name]) other.addEventListener("change", () => { if (!way.checked) field.value = ""; });
}
for (const form of document.querySelectorAll("[data-quiet]")) {
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        event.submitter.disabled = true;
        const body = new URLSearchParams(new FormData(form));
        await fetch(form.action, { method: "POST", body }).catch(() => { event.submitter.disabled = false; tellOffline(form, event.submitter, true); });
    });
}
// A form is sent once the service answers. Without a connection it stays as it is, with all that was typed and the chosen files.
// A form that is under way is not sent again by a second click. After some seconds it can be.
document.addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter;
    if (event.defaultPrevented || form.method !== "post" || form.dataset.sent === "now") return;
    event.preventDefault();
    if (form.dataset.sent) return;
    form.dataset.sent = "asks";
    const answers = await isReached();
    tellOffline(form, button, !answers);
    if (!answers || !form.isConnected) { delete form.dataset.sent; return; }
    form.dataset.sent = "now";
    leave();
    form.requestSubmit(button?.isConnected ? button : null);
    form.dataset.sent = "true";
    // The page stays after a download, so its other buttons are needed soon.
    setTimeout(() => { delete form.dataset.sent; }, button?.value === "file" ? 500 : 5000);
});
addEventListener("pageshow", () => { for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent; });
// Keyboard shortcuts, as their page lists them. They take no key from a field, and can be turned off.
const shortcuts = {
    get off() { try { return localStorage.getItem("shortcuts") === "off"; } catch { return false; } },
    set off(off) { try { localStorage.setItem("shortcuts", off ? "off" : "on"); } catch { /* They stay on without storage. */ } },
};
for (const choice of document.querySelectorAll("[data-shortcuts]")) {
    const box = choice.querySelector("input");
    choice.hidden = false;
    box.checked = !shortcuts.off;
    box.addEventListener("change", () => { shortcuts.off = !box.checked; });
}
const rows = () => [...document.querySelectorAll("main td.first a, main .lines > li summary")].filter((row) => row.getClientRects().length);
function step(by) {
    const all = rows(), here = all.findIndex((row) => row === document.activeElement || row.closest("tr, li").contains(document.activeElement));
    all[Math.max(0, Math.min(all.length - 1, here < 0 ? 0 : here + by))]?.focus();
}
function follow(selector) { document.querySelector(selector)?.click(); }
const strokes = {
    "?": () => follow("[data-help]"),
    "/": () => document.querySelector("main input[type=search]")?.focus(),
    j: () => step(1),
    k: () => step(-1),
    x: () => document.activeElement.closest("tr")?.querySelector("input[type=checkbox]")?.click(),
    n: () => follow("main [data-new]"),
    h: () => follow("main a[rel=prev]"),
    l: () => follow("main a[rel=next]"),
};
let goes = false;
document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented || shortcuts.off) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio]), select, textarea, [contenteditable]")) return;
    if (goes) {
        goes = false;
        const place = /^[a-z]$/.test(event.key) && document.querySelector(`nav [data-key="${event.key}"]`);
        if (place) { event.preventDefault(); place.click(); }
        return;
    }
    if (event.key === "g") { goes = true; return; }
    if (!Object.hasOwn(strokes, event.key)) return;
    event.preventDefault();
    strokes[event.key]();
});
