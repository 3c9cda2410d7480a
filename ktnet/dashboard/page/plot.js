// Lines over time, as SVG: made once, and given new points.

import { draw, setText } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 150;
const TOP = 20;
const BOTTOM = HEIGHT - 18;
const SPANS_S = [60, 120, 300];

export class Plot {
  // `lines`: [{name, className, value(sample)}]; `format` turns a value into words.
  constructor(parent, lines, format) {
    this.lines = lines;
    this.format = format;
    this.paths = lines.map(({ className }) => draw("path", { class: `line ${className}` }));
    this.top = draw("text", { x: 4, y: 14, class: "tick" });
    this.half = draw("text", { x: 4, y: (TOP + BOTTOM) / 2 - 4, class: "tick" });
    this.begin = draw("text", { x: 4, y: HEIGHT - 4, class: "tick" });
    // A line's words have its colour, and its dashes, so that two that meet are both seen.
    this.words = lines.map(({ className }) => draw("tspan", { class: `word ${className}` }));
    this.now = draw("text", { x: WIDTH - 4, y: 14, class: "tick end" }, ...this.words);
    this.svg = draw(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", preserveAspectRatio: "none" },
      ...[TOP, (TOP + BOTTOM) / 2, BOTTOM].map((y) =>
        draw("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: "grid" })),
      ...this.paths.toReversed(), // the first has dashes, and is to be seen on the others
      this.top,
      this.half,
      this.begin,
      draw("text", { x: WIDTH - 4, y: HEIGHT - 4, class: "tick end" }, "now"),
      this.now,
    );
    parent.replaceChildren(this.svg);
  }

  show(samples) {
    const end = samples.length ? samples[samples.length - 1].at_s : 0;
    const known = samples.length ? end - samples[0].at_s : 0;
    const span = SPANS_S.find((each) => known <= each) ?? SPANS_S.at(-1);
    const recent = samples.filter((sample) => sample.at_s >= end - span);
    const values = recent.flatMap((sample) => this.lines.map(({ value }) => value(sample) ?? 0));
    const most = roundUp(Math.max(...values, 0));
    this.lines.forEach(({ value }, index) => {
      this.paths[index].setAttribute("d", buildPath(recent, value, end, span, most));
    });
    setText(this.top, most ? this.format(most) : "");
    setText(this.half, most ? this.format(most / 2) : "");
    setText(this.begin, `${span / 60} min ago`);
    const words = this.lines.map(({ name, value }) => {
      const last = recent.length ? value(recent[recent.length - 1]) : null;
      return `${name} ${last === null ? "–" : this.format(last)}`;
    });
    this.words.forEach((word, index) => setText(word, (index ? "\u2003" : "") + words[index]));
    this.svg.setAttribute("aria-label", `${words.join(", ")}; at most ${this.format(most)}`);
  }
}

function buildPath(samples, value, end, span, most) {
  let path = "";
  let isDown = true; // a gap: nothing is known between these two
  for (const sample of samples) {
    const here = value(sample);
    if (here === null) {
      isDown = true;
      continue;
    }
    const x = WIDTH * (1 - (end - sample.at_s) / span);
    const y = BOTTOM - (most ? here / most : 0) * (BOTTOM - TOP);
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
