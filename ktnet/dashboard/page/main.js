// Joins the stream to what is shown.

import { ClusterPart } from "./cluster.js";
import { setText } from "./dom.js";
import { Events } from "./events.js";
import { formatRate, formatSeconds } from "./format.js";
import { clean, recover } from "./mending.js";
import { Picture } from "./picture.js";
import { Plot } from "./plot.js";
import { openSessions } from "./sessions.js";
import { State } from "./state.js";
import { follow } from "./stream.js";
import { takeToken } from "./token.js";
import { openFlows, openQueries } from "./traffic.js";

const find = (id) => document.getElementById(id);

const state = new State();
const picture = new Picture(find("picture"));
const sessions = openSessions(find("sessions"));
const flows = openFlows(find("flows"));
const queries = openQueries(find("queries"));
const events = new Events(find("events"));
const cluster = new ClusterPart(
  { services: find("services"), everybody: find("everybody"), leftovers: find("leftovers") },
  recover,
  clean,
);
const throughput = new Plot(
  find("throughput"),
  [
    { name: "up", className: "up", value: (sample) => sample.up_bytes_per_s },
    { name: "down", className: "down", value: (sample) => sample.down_bytes_per_s },
  ],
  formatRate,
);
const roundTrip = new Plot(
  find("round-trip"),
  [{ name: "now", className: "rtt", value: (sample) => sample.round_trip_s }],
  formatSeconds,
);

function render() {
  const samples = state.sumSamples();
  picture.show(state, samples.at(-1));
  sessions.show(state.sessions);
  find("no-sessions").hidden = state.sessions.length > 0;
  find("sessions").hidden = find("plots").hidden = state.sessions.length === 0;
  throughput.show(samples);
  roundTrip.show(samples);
  renderTraffic();
  events.show(state.events);
}

function renderTraffic() {
  flows.show(state.flows);
  queries.show(state.queries);
  find("flows-part").hidden = state.sessions.length === 0;
  find("queries-part").hidden = state.sessions.length === 0;
  const open = state.sessions.reduce((sum, each) => sum + (each.flows?.flows_open ?? 0), 0);
  const shown = state.flows.length;
  setText(find("flows-count"), shown < open ? `the ${shown} largest of ${open}` : `${shown}`);
  setText(find("queries-count"), state.queries.length ? `the last ${state.queries.length}` : "");
}

function renderCluster() {
  const { error, context, namespace, warnings = [] } = state.cluster;
  const dead = cluster.show(state.cluster);
  find("leftovers").hidden = dead === 0;
  find("no-leftovers").hidden = dead > 0;
  setText(find("cluster-of"), context ? `${context}, ${namespace || "all namespaces"}` : "");
  const problem = error ? `not known: ${error}` : warnings.join("; ");
  setText(find("cluster-error"), problem);
  find("cluster-error").hidden = !problem;
}

await takeToken();
addEventListener("hashchange", () => location.hash.startsWith("#token=") && location.reload());

follow(
  {
    history: (histories) => state.setHistory(histories),
    look: (look) => {
      state.look(look);
      render();
    },
    cluster: (seen) => {
      state.cluster = seen;
      renderCluster();
    },
  },
  (text, isUp) => {
    setText(find("connection"), text);
    find("connection").classList.toggle("down", !isUp);
  },
);
