// A table whose rows are kept by key: what hasn't changed isn't touched, so that thousands of rows
// a second stay cheap, and a selection or the focus stays where it is.

import { build, setText } from "./dom.js";

export class Table {
  // `columns`: [[title, text(record), build(record)?, className?]]; `keyOf(record)` tells rows
  // apart. What `build` returns is put into the cell when its row is made; then it is left alone.
  constructor(parent, label, columns, keyOf) {
    this.columns = columns;
    this.keyOf = keyOf;
    this.rows = new Map();
    const titles = columns.map(([title, , , className = ""]) =>
      build("th", { scope: "col", class: className }, title));
    this.body = build("tbody");
    parent.append(
      build("table", { "aria-label": label }, build("thead", {}, build("tr", {}, ...titles)), this.body),
    );
  }

  show(records) {
    const former = this.rows;
    this.rows = new Map();
    let previous = null;
    for (const record of records) {
      const key = this.keyOf(record);
      if (this.rows.has(key)) continue;
      const row = former.get(key) ?? this.buildRow(record);
      former.delete(key);
      this.rows.set(key, row);
      this.columns.forEach(([, text], index) => {
        if (text) setText(row.cells[index], String(text(record) ?? ""));
      });
      const place = previous ? previous.nextSibling : this.body.firstChild;
      if (place !== row) this.body.insertBefore(row, place);
      previous = row;
    }
    for (const row of former.values()) row.remove();
  }

  buildRow(record) {
    const cells = this.columns.map(([, , make, className = ""]) =>
      build("td", { class: className }, ...(make ? [make(record)] : [])));
    return build("tr", {}, ...cells);
  }
}
