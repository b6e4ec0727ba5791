// The player of paths: a moment of the trainings, and of each path the checkpoints until then.

const { moments, fps } = page.player;
const TRACES = [1, 1, 3]; // points that a checkpoint has in each trace of a path
const HEAD = 8; // size of the mark at the last checkpoint so far
const slider = element("moment");
const player = { moment: moments.length - 1, timer: null };

panels.forEach((panel, i) => panel.paths.forEach((path, j) => {
  path.told = element(`path-${i}-${j}`);
  path.known = path.known.map(([label, values]) => [label, unpacked(values)]);
  path.off = unpacked(path.off);
  path.sizes = panel.data[path.first].marker.size;
  path.sizes = Array.from(axis(path.sizes));
}));

function said({ name, known, off }, at) {
  const losses = known.map(([label, values]) => `${label} ${Number.isNaN(values[at]) ? "not finite, or not measured" : short(values[at], 3)}`);
  const apart = Number.isNaN(off[at]) ? "θ = θ*, in the plane" : `${off[at].toFixed(2)} ‖θ − θ*‖ off the plane`;
  return [...(name ? [name] : []), ...losses, apart].join(" · ");
}

function move(to) {
  player.moment = Math.max(0, Math.min(moments.length - 1, to));
  slider.value = player.moment;
  slider.setAttribute("aria-valuetext", moments[player.moment]);
  element("clock").textContent = moments[player.moment];
  for (const panel of panels) {
    for (const path of panel.paths) {
      const number = path.numbers[player.moment];
      TRACES.forEach((points, k) => { panel.ends[path.first + k] = points * number; });
      panel.data[path.first].marker.size = path.sizes.map((size, k) => (k === number - 1 ? HEAD : size));
      path.told.textContent = said(path, number - 1);
    }
  }
  draw();
}

function pause() {
  clearTimeout(player.timer);
  player.timer = null;
  element("play").textContent = "play";
}

async function step(due) {
  move(player.moment + 1);
  await Promise.all(panels.map((panel) => panel.drawn)); // a machine may be slower than the film
  if (player.timer === null) return;
  if (player.moment === moments.length - 1) pause();
  else player.timer = setTimeout(step, Math.max(0, due - performance.now()), due + 1000 / fps);
}

function play() {
  if (player.timer !== null) {
    pause();
    return;
  }
  if (player.moment === moments.length - 1) move(0);
  element("play").textContent = "pause";
  player.timer = setTimeout(step, 1000 / fps, performance.now() + 2000 / fps);
}

const KEYS = {
  " ": play,
  ArrowLeft: () => { pause(); move(player.moment - 1); },
  ArrowRight: () => { pause(); move(player.moment + 1); },
  Home: () => { pause(); move(0); },
  End: () => { pause(); move(moments.length - 1); },
};

element("play").addEventListener("click", play);
slider.addEventListener("input", () => { pause(); move(Number(slider.value)); });
document.addEventListener("keydown", (event) => {
  const other = event.target.closest?.("button, select, input") && event.target !== slider; // they have keys of their own
  if (other || !(event.key in KEYS) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  KEYS[event.key]();
});

move(player.moment);
