// Blocks that are deleted by a click, and the trial that was measured nearest to that.

const { blocks, titles, figure } = page;
const all = Object.fromEntries(Object.entries(page.trials).map(([name, spec]) => [name, unpacked(spec)]));
const number = all.loss.length;
const main = all.error ?? all.loss; // where accuracy is not defined, the loss is shown
const [factor, form] = all.error ? [100, percent] : [1, (value) => short(value)];
const chosen = new Uint8Array(blocks.length); // 1: deleted
const buttons = [...document.querySelectorAll(".block")];
const plot = element("plot");

const deleted = (trial) => all.deleted.subarray(trial * blocks.length, (trial + 1) * blocks.length);
const named = (test) => blocks.flatMap((name, i) => (test(i) ? [`${i + 1} (${name})`] : [])).join(", ");

// The trials that differ from what is chosen in the fewest blocks, and in how many.
function nearest() {
  let least = Infinity;
  let found = [];
  for (let trial = 0; trial < number; trial += 1) {
    const there = deleted(trial);
    let apart = 0;
    for (let i = 0; i < blocks.length && apart <= least; i += 1) apart += there[i] !== chosen[i];
    if (apart < least) [least, found] = [apart, [trial]];
    else if (apart === least) found.push(trial);
  }
  return { apart: least, found };
}

function show(wanted) {
  const { apart, found } = nearest();
  const trial = found.includes(wanted) ? wanted : found[0];
  const there = deleted(trial);
  const count = chosen.reduce((sum, one) => sum + one, 0);
  buttons.forEach((button, i) => {
    button.setAttribute("aria-pressed", String(chosen[i] === 1));
    button.classList.toggle("differs", there[i] !== chosen[i]);
  });
  const write = (id, text) => { element(id).textContent = text; };
  const names = named((i) => chosen[i]);
  write("chosen", count ? `Deleted, ${count} of ${blocks.length} blocks: ${names}` : "Nothing is deleted: the whole network.");
  write("error", form(main[trial]));
  const least = all.error ? (100 * all.low[trial]).toFixed(2) : short(all.low[trial]);
  write("interval", `95 % interval ${least} to ${form(all.high[trial])}`);
  const rise = all.rise[trial];
  write("rise", `${rise > 0 ? "+" : ""}${short(rise)}`);
  const se = all.rise_se[trial];
  write("rise-se", Number.isNaN(se) ? "" : `± ${short(se, 2)} (standard error, same examples)`);
  write("match", apart ? `These blocks were never deleted together. The nearest ${found.length > 1 ? `${found.length} trials differ` : "trial differs"} in ${apart} of ${blocks.length}:` : `Measured: these blocks${all.times[trial] > 1 ? `, in ${all.times[trial]} trials, of which the first is shown` : ""}.`);
  const more = named((i) => there[i] && !chosen[i]);
  const less = named((i) => !there[i] && chosen[i]);
  write("differs", [more && `it deletes ${more} too`, less && `it keeps ${less}`].filter(Boolean).join("; "));
  const errors = found.map((each) => main[each]);
  const [low, high] = [Math.min(...errors), Math.max(...errors)];
  write("ties", found.length > 1 ? `${found.length} trials are as near, with ${all.error ? "errors" : "losses"} of ${form(low)} to ${form(high)}; all are ringed, and the numbers are of the first.` : "");
  const from = `trial ${all.trial[trial]} of ${titles[all.file[trial]]}`;
  const right = all.error ? `, accuracy ${percent(1 - all.error[trial])}` : "";
  const metrics = page.metrics.map((name) => `, ${name} ${short(all[`metric ${name}`][trial])} ± ${short(all[`metric ${name}_se`][trial], 2)}`);
  write("trial", `${from}: loss ${short(all.loss[trial])}${right}${metrics.join("")}, ${all.examples[trial]} examples`);
  highlight([trial, ...found.filter((each) => each !== trial)]);
}

// Rings around the points of trials, with the interval of the first.
function highlight(trials) {
  const across = new Map(figure.data.slice(0, -1).flatMap(({ customdata, x }) => (customdata ? customdata.map((row, i) => [row[0], x[i]]) : [])));
  const [value, low, high] = [main, all.low, all.high].map((values) => trials.map((trial) => factor * values[trial]));
  const alone = (length) => trials.map((_, i) => (i ? 0 : length));
  Object.assign(figure.data.at(-1), {
    x: trials.map((trial) => across.get(trial)), y: value,
    error_y: { type: "data", symmetric: false, array: alone(high[0] - value[0]), arrayminus: alone(value[0] - low[0]), color: "black" },
  });
  Plotly.react(plot, figure.data, figure.layout, CONFIG);
}

function choose(set, trial) {
  chosen.set(set);
  show(trial);
}

buttons.forEach((button, i) => button.addEventListener("click", () => { chosen[i] = 1 - chosen[i]; show(); }));
element("reset").addEventListener("click", () => choose(new Uint8Array(blocks.length)));

for (const trace of figure.data) {
  trace.x = trace.x.bdata ? unpacked(trace.x) : trace.x;
  if (trace.customdata) {
    const flat = unpacked(trace.customdata);
    trace.customdata = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
  }
}
show();
plot.on("plotly_click", ({ points }) => {
  const point = points.find(({ customdata }) => customdata);
  if (point) choose(deleted(point.customdata[0]), point.customdata[0]);
});
