// Reliefs and lines on one scale: heights, colours and ticks follow the scale that is chosen, all reliefs one camera.

const view = (eye) => ({ eye, up: { x: 0, y: 0, z: 1 }, center: { x: 0, y: 0, z: -0.1 } });
const VIEWS = {
  side: view({ x: 1.15, y: -1.64, z: 1.45 }),
  above: view({ x: 0, y: -0.001, z: 2.5 }),
};
const POINTER = {
  type: "scatter3d", mode: "markers", x: [], y: [], z: [], hoverinfo: "skip", showlegend: false,
  marker: { symbol: "circle-open", size: 9, color: "#d55e00", line: { width: 4, color: "#d55e00" } },
};
const kinds = page.scales.kinds;
const state = { kind: page.scales.first, layer: 0, camera: VIEWS.side };

// What a panel is made of: its figure, of every trace the losses, and of every plane what else is known of its points.
const panels = page.panels.map(({ figure, name, values = [], metrics = [], paths = [] }, i) => {
  const { data, layout } = figure;
  const losses = data.map((trace) => (layout.scene ? unpacked(trace.z) : null));
  data.forEach((trace) => ["x", "y"].forEach((name) => { trace[name] = axis(trace[name]); }));
  const planes = data.filter((trace) => trace.type === "surface").length;
  if (layout.scene) {
    data.push({ ...POINTER }); // the last trace: the point that is told of
    losses.push(new Float64Array(0));
  }
  return {
    name, div: element(`plot-${i}`), readout: element(`readout-${i}`), data, layout, losses, planes, paths,
    ends: data.map(() => Infinity), // of how many points of a trace are shown; see film.js
    values: values.map((all) => Object.fromEntries(Object.entries(all).map(([name, spec]) => [name, unpacked(spec)]))),
    metrics: metrics.map((all) => Object.entries(all).map(([name, parts]) => [name, ...parts.map(unpacked)])),
  };
});

function axis(values) {
  return values.bdata ? unpacked(values) : values;
}

// The scale: from losses to heights, and the heights worth a tick.

function height(loss) {
  const { low, high } = kinds[state.kind];
  if (!Number.isFinite(loss)) return NaN; // a hole
  const clipped = Math.min(Math.max(loss, low), high);
  return state.kind === "log" ? Math.log10(clipped) : clipped;
}

function rows(heights, across) {
  return Array.from({ length: heights.length / across }, (_, i) => heights.subarray(i * across, (i + 1) * across));
}

function ticks() {
  const { low, high } = kinds[state.kind];
  let levels = [];
  if (state.kind === "log") {
    const span = Math.log10(high / low);
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      levels.push(...(span < 2.5 ? [1, 2, 5] : [1]).map((lead) => Number(`${lead}e${power}`)));
    }
    levels = levels.filter((level) => level >= low * (1 - 1e-9) && level <= high * (1 + 1e-9));
  }
  if (levels.length < 3) {
    const rough = (high - low) / 5;
    const decade = 10 ** Math.floor(Math.log10(rough));
    const step = decade * [1, 2, 5, 10].find((lead) => lead * decade >= rough);
    levels = [];
    for (let n = Math.ceil(low / step); n * step <= high; n += 1) levels.push(Number((n * step).toPrecision(12)));
  }
  // As many digits as tell each from its neighbours.
  const slack = Math.min(...levels.slice(1).map((level, i) => level - levels[i])) / 10;
  const told = (digits) => levels.every((level) => Math.abs(Number(level.toPrecision(digits)) - level) <= slack);
  let digits = 3;
  while (digits < 12 && !told(digits)) digits += 1;
  return { tickvals: levels.map(height), ticktext: levels.map((level) => short(level, digits)) };
}

// Drawing.

function draw() {
  const { low, high } = kinds[state.kind];
  const ends = [low, high].map(height);
  for (const panel of panels) {
    if (panel.layout.scene) {
      const marks = ticks();
      panel.data.forEach((trace, k) => {
        const heights = Float32Array.from(panel.losses[k], (loss, i) => (i < panel.ends[k] ? height(loss) : NaN));
        trace.z = trace.type === "surface" ? rows(heights, trace.x.length) : heights;
        if (trace.type === "surface") {
          Object.assign(trace, { cmin: ends[0], cmax: ends[1], visible: k === Math.min(state.layer, panel.planes - 1) });
          Object.assign(trace.colorbar, marks);
        }
      });
      const room = 0.01 * (ends[1] - ends[0]); // what is clipped lies on the ends, and must not be cut off there
      Object.assign(panel.layout.scene.zaxis, marks, { range: [ends[0] - room, ends[1] + room] });
      panel.layout.scene.camera = state.camera;
    } else {
      panel.layout.yaxis.type = state.kind;
      panel.layout.yaxis.range = ends;
      panel.layout.yaxis.dtick = state.kind === "linear" ? null : ends[1] - ends[0] < 4 ? "D2" : 1;
    }
    panel.drawn = Plotly.react(panel.div, panel.data, panel.layout, CONFIG);
  }
  element("level").textContent = short(high, 3);
}

// Cameras: the panel that is turned takes the others along.

function look(camera, from) {
  state.camera = camera;
  for (const panel of panels) {
    if (panel !== from) Plotly.relayout(panel.div, { "scene.camera": camera });
  }
}

// Plotly's events tell of a camera that is a step behind, so the camera itself is asked, until it has stood still.
function follow(panel) {
  const begun = panel.still !== undefined && state.leader === panel;
  panel.still = 0;
  state.leader = panel;
  if (begun) return;
  const step = () => {
    const camera = panel.div._fullLayout.scene._scene.getCamera();
    const stands = JSON.stringify(camera) === JSON.stringify(state.camera);
    panel.still = stands ? panel.still + 1 : 0;
    if (!stands) look(camera, panel);
    if (panel.still < 20 && state.leader === panel) requestAnimationFrame(step);
    else panel.still = undefined;
  };
  requestAnimationFrame(step);
}

// Telling: at the point under the pointer and, for every other network, at its nearest point.

const nearest = (places, at) => places.reduce((best, place, i) => (Math.abs(place - at) < Math.abs(places[best] - at) ? i : best), 0);

function tell(panel, x, y) {
  const plane = Math.min(state.layer, panel.planes - 1);
  const trace = panel.data[plane];
  const column = nearest(trace.x, x);
  const row = nearest(trace.y, y);
  const point = row * trace.x.length + column;
  const { loss_se, accuracy, examples, state: known } = panel.values[plane];
  const parts = [`α ${short(trace.x[column])}, β ${short(trace.y[row])}: `];
  if (known[point] === 0) {
    parts.push("not measured yet");
  } else {
    parts.push(`${panel.name} ${short(panel.losses[plane][point])}`);
    if (loss_se[point] > 0) parts.push(` ± ${short(loss_se[point], 2)}`);
    if (Number.isFinite(accuracy[point])) {
      parts.push(`, error ${percent(1 - accuracy[point])}, accuracy ${percent(accuracy[point])}`);
    }
    for (const [name, value, se] of panel.metrics[plane]) {
      if (Number.isFinite(value[point])) parts.push(`, ${name} ${short(value[point])} ± ${short(se[point], 2)}`);
    }
    parts.push(known[point] === 2 ? ", interpolated" : `, ${examples[point]} examples`);
  }
  panel.readout.textContent = parts.join("");
  mark(panel, trace.x[column], trace.y[row], panel.losses[plane][point]);
}

// A ring around that point in every relief.
function mark(panel, x, y, loss) {
  const pointer = panel.data.at(-1);
  if (pointer.x[0] === x && pointer.y[0] === y && Object.is(panel.losses.at(-1)[0], loss)) return;
  panel.losses[panel.losses.length - 1] = Float64Array.of(loss);
  Plotly.restyle(panel.div, { x: [[x]], y: [[y]], z: [[height(loss)]] }, [panel.data.length - 1]);
}

// Controls.

const clip = element("clip");

function place() {
  const { low, high, most } = kinds[state.kind];
  clip.value = state.kind === "log" ? Math.log(high / low) / Math.log(most / low) : (high - low) / (most - low);
}

function choose(kind) {
  state.kind = kind;
  place();
  draw();
}

document.querySelectorAll("input[name=scale]").forEach((button) => {
  button.checked = button.value === state.kind;
  button.disabled = !(button.value in kinds);
  button.addEventListener("change", () => choose(button.value));
});

let waiting = false;
clip.addEventListener("input", () => {
  const scale = kinds[state.kind];
  const part = Math.max(Number(clip.value), 0.01);
  const log = state.kind === "log";
  scale.high = log ? scale.low * (scale.most / scale.low) ** part : scale.low + part * (scale.most - scale.low);
  if (waiting) return;
  waiting = true; // a slider moves more often than reliefs can be drawn
  requestAnimationFrame(() => { waiting = false; draw(); });
});

element("layer")?.addEventListener("change", (event) => { state.layer = Number(event.target.value); draw(); });
Object.keys(VIEWS).forEach((name) => element(name)?.addEventListener("click", () => { state.leader = null; look(VIEWS[name], null); }));

place();
draw();
for (const panel of panels.filter(({ layout }) => layout.scene)) {
  ["pointerdown", "pointermove", "touchmove", "wheel", "click"].forEach((kind) => {
    panel.div.addEventListener(kind, ({ buttons }) => { if (kind !== "pointermove" || buttons) follow(panel); }, true);
  });
  panel.div.on("plotly_hover", ({ points: [{ data, x, y }] }) => {
    if (data.type === "surface") panels.forEach((each) => tell(each, x, y));
  });
}
