"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const config = { displaylogo: false, responsive: true, displayModeBar: false };

  function themed(layout) {
    const copy = JSON.parse(JSON.stringify(layout));
    copy.font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") };
    copy.hoverlabel = Object.assign({}, copy.hoverlabel, {
      bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink"), size: 12.5 },
    });
    for (const note of copy.annotations || []) {
      if (note.name === "backed") note.bgcolor = colour("--card");
    }
    for (const name of Object.keys(copy).filter((key) => /^[xy]axis/.test(key))) {
      copy[name] = Object.assign({ gridcolor: colour("--grid"), zerolinecolor: colour("--grid") }, copy[name]);
    }
    return copy;
  }

  function narrowed(layout, width) {
    if (width >= 560 || !layout.xaxis || !layout.xaxis.tickvals || layout.xaxis.type !== "log") return layout;
    const kept = layout.xaxis.tickvals.map((value) => String(value).replace(/[0.e+-]/g, "")[0] === "1");
    if (kept.filter(Boolean).length > 1) {
      layout.xaxis.ticktext = layout.xaxis.ticktext.map((text, index) => (kept[index] ? text : ""));
    }
    return layout;
  }

  function draw() {
    for (const [id, figure] of Object.entries(data.figures)) {
      const place = document.getElementById(id);
      Plotly.react(place, figure.data, narrowed(themed(figure.layout), place.clientWidth), config);
    }
  }

  const element = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  function rows(pairs) {
    const table = element("table");
    for (const [name, value] of pairs) {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = value;
    }
    return table;
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = element("textarea", text);
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  function command(text) {
    const line = element("div", "", "command");
    const button = element("button", "Copy");
    button.type = "button";
    button.addEventListener("click", () => copy(text, button));
    const code = element("code", "", "line");
    for (const word of text.split(" ")) code.append(element("span", word), " ");
    line.append(code, button);
    return line;
  }

  function show(label) {
    const detail = data.details[label];
    if (!detail) return;
    const panel = document.getElementById("panel");
    panel.replaceChildren(element("h3", detail.title), element("p", detail.state, "state"));
    if (detail.command) panel.append(element("h4", "Deploy"), command(detail.command));
    if (detail.note) panel.append(element("p", detail.note, "note"));
    if (detail.figures.length) panel.append(element("h4", "Figures"), rows(detail.figures));
    if (detail.choice.length) {
      panel.append(element("h4", "Architecture"), rows(detail.choice));
    }
  }

  draw();
  for (const id of Object.keys(data.figures)) {
    document.getElementById(id).on("plotly_click", (event) => {
      const label = event.points[0] && event.points[0].customdata;
      if (typeof label === "string") show(label);
    });
  }
  for (const row of document.querySelectorAll("[data-spot]")) {
    row.addEventListener("click", () => {
      show(row.dataset.spot);
      document.getElementById("front-section").scrollIntoView({ behavior: "smooth", block: "start" });
    });
  }
  if (data.first) show(data.first);
  dark.addEventListener("change", draw);
})();
