// Lines over time, as SVG: made once, and given new points.

import { draw, setText } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 150;
const SPAN_S = 300;

export class Plot {
  // `lines`: [{name, className, value(sample)}]; `format` turns a value into words.
  constructor(parent, lines, format) {
    this.lines = lines;
    this.format = format;
    this.paths = lines.map(({ className }) => draw("path", { class: `line ${className}` }));
    this.top = draw("text", { x: 4, y: 14, class: "tick" });
    this.now = draw("text", { x: WIDTH - 4, y: 14, class: "tick end" });
    this.svg = draw(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", preserveAspectRatio: "none" },
      draw("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1, class: "axis" }),
      draw("line", { x1: 0, x2: WIDTH, y1: 20, y2: 20, class: "grid" }),
      ...this.paths,
      this.top,
      this.now,
    );
    parent.replaceChildren(this.svg);
  }

  show(samples) {
    const end = samples.length ? samples[samples.length - 1].at_s : 0;
    const recent = samples.filter((sample) => sample.at_s > end - SPAN_S);
    const values = recent.flatMap((sample) => this.lines.map(({ value }) => value(sample) ?? 0));
    const most = roundUp(Math.max(...values, 0));
    this.lines.forEach(({ value }, index) => {
      this.paths[index].setAttribute("d", buildPath(recent, value, end, most));
    });
    setText(this.top, most ? this.format(most) : "");
    const words = this.lines.map(({ name, value }) => {
      const last = recent.length ? value(recent[recent.length - 1]) : null;
      return `${name} ${last === null ? "–" : this.format(last)}`;
    });
    setText(this.now, words.join("   "));
    this.svg.setAttribute("aria-label", `${words.join(", ")}; at most ${this.format(most)}`);
  }
}

function buildPath(samples, value, end, most) {
  let path = "";
  let isDown = true; // a gap: nothing is known between these two
  for (const sample of samples) {
    const here = value(sample);
    if (here === null) {
      isDown = true;
      continue;
    }
    const x = WIDTH * (1 - (end - sample.at_s) / SPAN_S);
    const y = HEIGHT - 2 - (most ? here / most : 0) * (HEIGHT - 22);
    path += `${isDown ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    isDown = false;
  }
  return path;
}

// 1, 2 or 5 times a power of ten.
export function roundUp(value) {
  if (!(value > 0)) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => value <= step * power) ?? 10);
}
