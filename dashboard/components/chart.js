// A Plotly figure that stays as a person left it: drawn anew in place when its data change, never mounted anew. See chart.py.
//
// Streamlit calls the default export at the first sight of the component, and again whenever its data or the theme change.

const zooms = new Map(); // chart -> revision and ranges of the axes: a person who comes back to a page finds the part he looked at
let plotly; // asked for once by all charts of the page
const fullscreen = {
  name: "fullscreen",
  title: "Fullscreen",
  icon: { width: 24, height: 24, path: "M4 4h6v2H6v4H4zm10 0h6v6h-2V6h-4zM4 14h2v4h4v2H4zm14 0h2v6h-6v-2h4z" },
  click: (holder) => (document.fullscreenElement ? document.exitFullscreen() : holder.requestFullscreen()),
}; // one object: a chart of another configuration, even by an equal function, Plotly would make anew

export default function (component) {
  const { data, parentElement } = component;
  let holder = parentElement.querySelector(".autokd-chart");
  if (!holder) {
    holder = document.createElement("div");
    holder.className = "autokd-chart";
    holder.setAttribute("role", "figure");
    parentElement.append(holder);
    holder.sizes = new ResizeObserver(() => holder._fullLayout && holder.offsetWidth && window.Plotly.Plots.resize(holder));
  }
  holder.component = component;
  holder.setAttribute("aria-label", data.alt);
  plotly ??= load(data.scripts);
  plotly.then(() => draw(holder)).catch((error) => {
    console.error(error);
    if (!window.Plotly) plotly = undefined; // asked for again at the next look
    if (!holder._fullLayout) holder.textContent = "The chart could not be drawn: reload the page.";
  });
  return () => {
    if (holder.isConnected) return; // only an outdated call ends: another one draws here already
    holder.sizes.disconnect();
    window.Plotly?.purge(holder);
  };
}

// Plotly as Streamlit brings it, which its own charts use and the browser keeps; else that of the Python package.
async function load(scripts) {
  const base = document.querySelector('script[src*="/static/js/"]')?.src ?? new URL("static/js/", document.baseURI);
  for (const script of scripts) {
    if (!window.Plotly) await import(new URL(script, base)).catch(console.warn);
  }
  if (!window.Plotly) throw new Error("no Plotly in " + scripts.join(", "));
}

async function draw(holder) {
  const { data } = holder.component;
  if (!holder.isConnected) return;
  if (holder._dragging) return void setTimeout(() => draw(holder).catch(console.error), 100); // else a new trial would end a zoom half-way
  const style = getComputedStyle(holder);
  const colour = (name) => style.getPropertyValue(`--st-${name}`).trim();
  const state = data.figure + data.revision + colour("text-color") + colour("background-color") + colour("font");
  if (holder.state === state) return;
  holder.style.height = `${data.height}px`;
  const { data: traces, layout } = JSON.parse(data.figure);
  Object.assign(layout, { uirevision: data.revision, autosize: true, clickmode: "event" });
  layout.dragmode ??= "zoom";
  dress(layout, colour);
  const seen = {};
  for (const trace of traces) { // what a person did to a trace follows its name, not its place; Plotly makes a selector of it
    const name = Array.from(trace.name ?? "", (letter) => letter.codePointAt(0).toString(36)).join("-");
    seen[name] = (seen[name] ?? 0) + 1;
    trace.uid = `t${seen[name]}-${name}`;
  }
  const zoom = zooms.get(data.name);
  if (zoom?.revision === data.revision) {
    for (const [axis, range] of Object.entries(zoom.ranges)) layout[axis] = { ...layout[axis], range, autorange: false };
  }
  await window.Plotly.react(holder, traces, layout, {
    displaylogo: false,
    showSendToCloud: false, // the bar's button that uploads a chart
    modeBarButtonsToRemove: data.box ? ["lasso2d"] : ["lasso2d", "select2d"],
    modeBarButtonsToAdd: [fullscreen],
  });
  holder.state = state;
  if (holder.listens) return;
  holder.listens = true;
  holder.sizes.observe(holder);
  listen(holder);
}

// Streamlit's colours and font, in the figure's template: what the figure itself states stays.
function dress(layout, colour) {
  const [text, faint, grid, back] = ["text-color", "gray-text-color", "border-color-light", "background-color"].map(colour);
  const font = { family: colour("font"), size: 12, color: text };
  const title = { font: { size: 14, color: faint }, standoff: 20 };
  const axis = { gridcolor: grid, tickcolor: grid, tickfont: { color: faint }, title };
  const theme = ((layout.template ??= {}).layout ??= {});
  Object.assign(theme, {
    font,
    margin: { pad: 8 },
    hoverlabel: { bgcolor: back, bordercolor: faint, font },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: faint, activecolor: text },
    xaxis: { ...theme.xaxis, ...axis, showgrid: false },
    yaxis: { ...theme.yaxis, ...axis },
  });
}

// Trial numbers of a clicked point or a drawn box go to the server; the axes as they are now are kept for the next mount.
function listen(holder) {
  let boxed = false; // a box that Plotly applies again to new points is no wish of the person
  const numbers = (points) => [...new Set(points.filter((p) => p.customdata).map((p) => Number(p.customdata[0])))];
  const tell = (name, points) => points.length && holder.component.setTriggerValue(name, points);
  holder.on("plotly_click", (event) => tell("clicked", numbers(event.points).slice(0, 1)));
  holder.on("plotly_selecting", () => (boxed = true));
  holder.on("plotly_selected", (event) => {
    if (boxed && event) tell("boxed", numbers(event.points));
    boxed = false;
  });
  holder.on("plotly_relayout", () => {
    const { name, revision } = holder.component.data;
    const zoomed = ["xaxis", "yaxis"].filter((axis) => holder.layout[axis]?.autorange === false);
    zooms.set(name, { revision, ranges: Object.fromEntries(zoomed.map((axis) => [axis, [...holder.layout[axis].range]])) });
  });
}
