// Joins the stream to what is shown.

import { formatRate, formatSeconds } from "./format.js";
import { setText } from "./dom.js";
import { Plot } from "./plot.js";
import { openSessions } from "./sessions.js";
import { State } from "./state.js";
import { follow } from "./stream.js";
import { takeToken } from "./token.js";

const find = (id) => document.getElementById(id);

takeToken();
const state = new State();
const sessions = openSessions(find("sessions"));
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
  sessions.show(state.sessions);
  find("no-sessions").hidden = state.sessions.length > 0;
  find("sessions").hidden = find("plots").hidden = state.sessions.length === 0;
  const samples = state.sumSamples();
  throughput.show(samples);
  roundTrip.show(samples);
}

follow(
  {
    history: (histories) => state.setHistory(histories),
    look: (look) => {
      state.look(look);
      render();
    },
  },
  (text, isUp) => {
    setText(find("connection"), text);
    find("connection").classList.toggle("down", !isUp);
  },
);
