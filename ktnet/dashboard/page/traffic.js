// Connections and DNS queries.

import { formatAge, formatBytes, formatClock, formatSeconds } from "./format.js";
import { Table } from "./table.js";

const place = ([address, port]) => `${address}:${port}`;

const FLOWS = [
  ["Process", ({ process }) => process || "–"],
  ["To", ({ service, destination }) => (service ? `${service}:${destination[1]}` : place(destination))],
  ["Address", ({ destination }) => place(destination)],
  ["State", ({ state }) => state],
  ["Up", ({ bytes_up }) => formatBytes(bytes_up)],
  ["Down", ({ bytes_down }) => formatBytes(bytes_down)],
  ["Age", ({ age_s }) => formatAge(age_s)],
];

const QUERIES = [
  ["At", ({ at_s }) => formatClock(at_s)],
  ["Name", ({ name }) => name],
  ["Type", ({ type }) => type],
  ["Whose", ({ zone }) => zone],
  ["Answer", ({ answer }) => answer],
  ["From memory", ({ from_memory }) => (from_memory ? "yes" : "")],
  ["Took", ({ took_s }) => formatSeconds(took_s)],
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
