// The way of the bytes, with what is known of each part now.

import { draw, setText } from "./dom.js";
import { formatRate, formatSeconds } from "./format.js";

const WIDTH = 900;
const HEIGHT = 106;
const PARTS = ["laptop", "api", "shadow", "cluster"];
const TITLES = { laptop: "This machine", api: "API server", shadow: "Shadow", cluster: "Cluster" };
const BOX = { width: 150, height: 74 };

export class Picture {
  constructor(parent) {
    this.parts = {};
    this.ways = [];
    const elements = [];
    PARTS.forEach((name, index) => {
      const x = (index * (WIDTH - BOX.width)) / (PARTS.length - 1);
      if (index) elements.push(this.drawWay(x));
      elements.push(this.drawPart(name, x));
    });
    this.svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "picture" }, ...elements);
    parent.replaceChildren(this.svg);
  }

  drawPart(name, x) {
    const middle = x + BOX.width / 2;
    const lines = [0, 1].map((line) => draw("text", { x: middle, y: 60 + 17 * line, class: "detail" }));
    const title = draw("text", { x: middle, y: 40, class: "title" }, TITLES[name]);
    const box = draw("rect", { x, y: 18, rx: 9, ...BOX });
    const group = draw("g", { class: "part unknown", id: `part-${name}` }, box, title, ...lines);
    this.parts[name] = { group, lines };
    return group;
  }

  drawWay(x) {
    const from = x - (WIDTH - BOX.width) / (PARTS.length - 1) + BOX.width;
    const line = draw("line", { x1: from, x2: x, y1: 55, y2: 55 });
    const text = draw("text", { x: (from + x) / 2, y: 45, class: "detail" });
    const group = draw("g", { class: "way unknown" }, line, text);
    this.ways.push({ group, text });
    return group;
  }

  show({ sessions, cluster }, sample) {
    const session = sessions.find(({ tunnel }) => tunnel) ?? sessions[0];
    const tunnel = session?.tunnel?.state ?? session?.state;
    const state = { connected: "good", connecting: "waiting", reconnecting: "bad" }[tunnel] ?? "unknown";
    const reachable = !cluster ? "unknown" : cluster.error ? "bad" : "good";
    const count = sessions.length;
    this.set("laptop", count ? "good" : "unknown", count === 1 ? "1 session" : `${count} sessions`,
      sample ? `${sample.flows_open} connections` : "");
    this.set("api", reachable, cluster?.context ?? "", cluster?.error ? "no answer" : session?.via ?? "");
    this.set("shadow", state, tunnel ?? "", countReconnects(session?.tunnel));
    const services = cluster?.services?.length;
    this.set("cluster", state === "good" ? "good" : "unknown",
      services === undefined ? "" : `${services} Services`, cluster ? cluster.namespace || "all namespaces" : "");
    const rate = sample && ((sample.up_bytes_per_s ?? 0) + (sample.down_bytes_per_s ?? 0));
    this.setWay(0, state, rate === null || rate === undefined ? "" : formatRate(rate));
    const far = sample?.round_trip_s;
    this.setWay(1, state, typeof far === "number" ? `⇄ ${formatSeconds(far)}` : "");
    this.setWay(2, state, "");
    this.svg.setAttribute("aria-label",
      PARTS.map((name) => `${TITLES[name]}: ${this.parts[name].group.dataset.words}`).join("; "));
  }

  set(name, state, ...words) {
    const { group, lines } = this.parts[name];
    group.setAttribute("class", `part ${state}`);
    group.dataset.words = words.filter(Boolean).join(", ");
    lines.forEach((line, index) => setText(line, shorten(words[index] ?? "")));
  }

  setWay(index, state, words) {
    this.ways[index].group.setAttribute("class", `way ${state}`);
    setText(this.ways[index].text, words);
  }
}

function countReconnects(tunnel) {
  if (!tunnel) return "";
  return tunnel.reconnects === 1 ? "1 reconnect" : `${tunnel.reconnects} reconnects`;
}

const shorten = (text) => (text.length > 22 ? `${text.slice(0, 21)}…` : text);
