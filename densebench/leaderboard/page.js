"use strict";
// Without this script the tables stand ranked as they are, unfolded, each with its first chart.
document.documentElement.classList.add("js");
const tip = document.getElementById("tip");

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    const isNumber = head.classList.contains("number");
    button.addEventListener("click", () => {
      const isDescending = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : isNumber;
      const sign = isDescending ? -1 : 1;
      const key = body => {
        const cell = body.rows[0].cells[index];
        const name = cell.querySelector("button") ?? cell;
        const text = name.textContent === "\u2013" ? null : name.textContent;
        return {
          value: isNumber ? ("value" in cell.dataset ? Number(cell.dataset.value) : null) : text,
          device: cell.dataset.device ?? "",  // figures of two devices do not compare
        };
      };
      const compare = (a, b) => isNumber ? a - b : a.localeCompare(b, "en", {numeric: true});
      const bodies = [...table.tBodies].map(body => [key(body), body]);
      bodies.sort(([a], [b]) => (a.value === null) - (b.value === null) || a.device.localeCompare(b.device)
        || (a.value === null ? 0 : sign * compare(a.value, b.value)));
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
      table.append(...bodies.map(([, body]) => body));
    });
  });
}

function unfolding(body) {
  const button = body.querySelector("th button"), detail = body.rows[1];
  button.addEventListener("click", () => {
    button.setAttribute("aria-expanded", detail.classList.toggle("open"));
  });
}

function filtering(board) {
  const input = board.querySelector(".filter input");
  input?.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const body of board.querySelectorAll("tbody")) {
      const text = (body.rows[0].textContent + " " + body.className).toLowerCase();
      body.hidden = !words.every(word => text.includes(word));
      for (const point of board.querySelectorAll(`g[data-row="${body.dataset.row}"]`)) {
        point.style.display = body.hidden ? "none" : "";
      }
    }
  });
}

function charted(board) {
  const buttons = [...board.querySelectorAll(".switch button")], devices = board.querySelector(".switch select");
  const drawings = [...board.querySelectorAll("svg")];
  const show = axis => {
    const there = drawings.filter(drawing => drawing.dataset.axis === axis);
    const shown = there.find(drawing => drawing.dataset.device === devices?.value) ?? there[0];
    for (const drawing of drawings) drawing.toggleAttribute("hidden", drawing !== shown);
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.axis === axis);
    if (devices) devices.parentElement.hidden = !("device" in shown.dataset);
    if (devices && "device" in shown.dataset) devices.value = shown.dataset.device;
  };
  for (const button of buttons) button.addEventListener("click", () => show(button.dataset.axis));
  devices?.addEventListener("change", () => show(buttons.find(b => b.getAttribute("aria-pressed") === "true").dataset.axis));
  for (const point of board.querySelectorAll("g[data-row]")) {
    const row = board.querySelector(`tbody[data-row="${point.dataset.row}"]`);
    point.querySelector("title").remove();
    point.setAttribute("aria-label", point.dataset.tip);
    point.addEventListener("pointerenter", event => {
      tip.textContent = point.dataset.tip;
      tip.hidden = false;
      tip.style.left = Math.max(8, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)) + "px";
      tip.style.top = Math.max(8, event.clientY - tip.offsetHeight - 12) + "px";
      row.classList.add("lit");
    });
    point.addEventListener("pointerleave", () => { tip.hidden = true; row.classList.remove("lit"); });
    point.addEventListener("click", () => row.scrollIntoView({block: "center"}));
  }
}

document.querySelectorAll("table").forEach(sortable);
document.querySelectorAll("tbody").forEach(unfolding);
document.querySelectorAll(".board").forEach(board => { filtering(board); charted(board); });
