// The sessions of this machine, one row each.

import { Table } from "./table.js";
import { formatAge, formatBytes } from "./format.js";

const COLUMNS = [
  ["Command", ({ command, exchanged, name }) => [command, exchanged ?? name].filter(Boolean).join(" ")],
  ["Namespace", ({ namespace }) => namespace],
  ["Context", ({ context }) => context],
  ["State", ({ state }) => state],
  ["Up for", ({ since }) => formatAge((Date.now() - Date.parse(since)) / 1000), null, "number"],
  ["Reconnects", ({ tunnel }) => tunnel?.reconnects, null, "number"],
  ["Open", ({ flows }) => flows?.flows_open, null, "number"],
  ["Up", ({ flows }) => flows && formatBytes(flows.bytes_up), null, "number"],
  ["Down", ({ flows }) => flows && formatBytes(flows.bytes_down), null, "number"],
  ["Names asked", ({ dns }) => dns?.queries, null, "number"],
  ["Pod", ({ pod }) => pod],
];

export function openSessions(parent) {
  return new Table(parent, "Sessions of this machine", COLUMNS, ({ key }) => key);
}
