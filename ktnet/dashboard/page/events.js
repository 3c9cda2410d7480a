// The timeline: the newest first, each made once.

import { build } from "./dom.js";
import { formatClock } from "./format.js";

const MOST_SHOWN = 200;

export class Events {
  constructor(list) {
    this.list = list;
    this.newest = 0;
  }

  show(events) {
    const latest = events.length ? events[0].number : 0;
    if (latest < this.newest) {
      this.list.replaceChildren(); // another dashboard counts anew
      this.newest = 0;
    }
    const fresh = events.filter(({ number }) => number > this.newest);
    this.list.prepend(...fresh.map(buildEvent));
    this.newest = latest;
    while (this.list.children.length > MOST_SHOWN) this.list.lastChild.remove();
  }
}

function buildEvent({ at_s, of, kind, text }) {
  const time = build("time", { datetime: new Date(at_s * 1000).toISOString() }, formatClock(at_s));
  return build("li", { class: kind }, time, build("span", { class: "of" }, of), build("span", {}, text));
}
