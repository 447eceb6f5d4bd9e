// What makes the pages nicer, and nothing that they need.
"use strict";

for (const output of document.querySelectorAll("[data-hides]")) {
    setTimeout(() => { output.textContent = "•".repeat(12); }, Number(output.dataset.hides) * 1000);
}
for (const button of document.querySelectorAll("[data-copies]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.querySelector(button.dataset.copies).textContent);
        button.textContent += " ✓";
    });
}
for (const button of document.querySelectorAll("[data-prints]")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
}
// The server's own rule for keys, as they are typed.
for (const input of document.querySelectorAll("[data-strength]")) {
    const hint = document.getElementById("strength"), first = hint.textContent;
    let timer;
    input.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(async () => {
            if (!input.value) { hint.textContent = first; return; }
            const answer = await fetch(input.dataset.strength, { method: "POST", body: new URLSearchParams(new FormData(input.form)) });
            hint.textContent = (await answer.json()).text;
        }, 250);
    });
}
// A key change: its form is sent as ever, and the progress is asked for meanwhile.
for (const form of document.querySelectorAll("[data-progress]")) {
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const body = new URLSearchParams(new FormData(form, event.submitter));
        const working = form.querySelector(".working"), bar = working.querySelector("progress"), text = working.querySelector("span");
        for (const button of form.querySelectorAll("button")) button.disabled = true;
        working.hidden = false;
        let done = false;
        const asking = (async () => {
            while (!done) {
                const state = await (await fetch(form.dataset.progress)).json();
                if (state.running && !done) {
                    text.textContent = state.text;
                    if (state.percent === null) bar.removeAttribute("value"); else { bar.max = 100; bar.value = state.percent; }
                }
                await new Promise((wake) => setTimeout(wake, 250));
            }
        })().catch(() => {});
        const answer = await fetch(form.action, { method: "POST", body });
        done = true;
        await asking;
        if (answer.redirected) { location.assign(answer.url); return; }
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        document.querySelector("main").replaceWith(page.querySelector("main"));
        document.querySelector("main").focus();
    });
}
