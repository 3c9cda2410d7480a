// Connections and DNS queries.

import { formatAge, formatBytes, formatClock, formatSeconds } from "./format.js";
import { Table } from "./table.js";

const place = ([address, port]) => `${address}:${port}`;

// What comes from the cluster leads to a port of this machine.
const toWhom = ({ inbound, service, destination }) => {
  if (inbound) return `here, port ${destination[1]}`;
  return service ? `${service}:${destination[1]}` : place(destination);
};

const FLOWS = [
  ["Process", ({ process }) => process || "–"],
  ["To", toWhom],
  ["Address", ({ inbound, source, destination }) => (inbound ? `from ${place(source)}` : place(destination))],
  ["State", ({ state }) => state],
  ["Up", ({ bytes_up }) => formatBytes(bytes_up), null, "number"],
  ["Down", ({ bytes_down }) => formatBytes(bytes_down), null, "number"],
  ["Age", ({ age_s }) => formatAge(age_s), null, "number"],
];

const QUERIES = [
  ["At", ({ at_s }) => formatClock(at_s)],
  ["Name", ({ name }) => name],
  ["Type", ({ type }) => type],
  ["Whose", ({ zone }) => zone],
  ["Answer", ({ answer }) => answer],
  ["From memory", ({ from_memory }) => (from_memory ? "yes" : "")],
  ["Took", ({ took_s }) => formatSeconds(took_s), null, "number"],
];

export function openFlows(parent) {
  return new Table(
    parent,
    "Connections",
    FLOWS,
    ({ session, source, destination }) => `${session} ${place(source)} ${place(destination)}`,
  );
}

export function openQueries(parent) {
  return new Table(
    parent,
    "Names asked",
    QUERIES,
    ({ session, at_s, name, type }) => `${session} ${at_s} ${name} ${type}`,
  );
}
