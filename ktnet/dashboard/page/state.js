// What the page knows: the last look, and the samples of each session.

const MOST_SAMPLES = 600;

export class State {
  constructor() {
    this.sessions = [];
    this.flows = [];
    this.queries = [];
    this.events = [];
    this.cluster = null;
    this.samples = new Map();
  }

  setHistory(histories) {
    this.samples = new Map(Object.entries(histories));
  }

  look({ sessions, samples, flows, queries, events }) {
    Object.assign(this, { sessions, flows, queries, events });
    const known = this.samples;
    this.samples = new Map();
    for (const [key, sample] of Object.entries(samples)) {
      const list = known.get(key) ?? [];
      list.push(sample);
      if (list.length > MOST_SAMPLES) list.shift();
      this.samples.set(key, list);
    }
  }

  // All sessions together: the plots are of this machine.
  sumSamples() {
    const lists = [...this.samples.values()];
    if (lists.length <= 1) return lists[0] ?? [];
    const byTime = new Map();
    for (const sample of lists.flat()) {
      const sum = byTime.get(sample.at_s);
      byTime.set(sample.at_s, sum ? add(sum, sample) : sample);
    }
    return [...byTime.values()].sort((a, b) => a.at_s - b.at_s);
  }
}

function add(a, b) {
  return {
    at_s: a.at_s,
    up_bytes_per_s: plus(a.up_bytes_per_s, b.up_bytes_per_s),
    down_bytes_per_s: plus(a.down_bytes_per_s, b.down_bytes_per_s),
    round_trip_s: worst(a.round_trip_s, b.round_trip_s),
    flows_open: a.flows_open + b.flows_open,
  };
}

const plus = (a, b) => (a === null ? b : b === null ? a : a + b);
const worst = (a, b) => (a === null ? b : b === null ? a : Math.max(a, b));
