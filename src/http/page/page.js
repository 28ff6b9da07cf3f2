// The status page: asks /status, shows it. Names and messages come from databases and may hold
// anything, so they become text nodes only, never markup.
"use strict";

const POLL_MS = 1000; // The agent itself looks at the source once a second.
const POLL_MANY_TABLES_MS = 5000; // Thousands of tables make an answer of megabytes.
const TABLES_MANY = 500;
const ROWS_MAX = 500; // Rows in the document; the filter finds the others.
const HISTORY_MS = 5 * 60 * 1000; // What the charts show at most; at first they show less.
const HISTORY_MIN_MS = 60 * 1000;

const TONES = {
  streaming: "good", ready: "good", standby: "good",
  copying: "busy", catching_up: "busy", starting: "busy", copied: "busy",
  waiting: "warn", paused: "warn", backoff: "warn",
  degraded: "bad", halted: "bad", error: "bad",
};

const element = (id) => document.getElementById(id);
const text = (id, value) => { element(id).textContent = value; };
const number = (value) => Math.round(value).toLocaleString("en");
const words = (state) => state.replaceAll("_", " ");

function bytes(count) {
  if (count === null || count === undefined) return "unknown";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${count.toFixed(unit === 0 || count >= 100 ? 0 : 1)} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function show(id, visible, value) {
  element(id).hidden = !visible;
  if (visible && value !== undefined) text(id, value);
}

// --- history and charts ---

const samples = []; // {at, lag, rate, received, slot}; a value that is not known is null.

function chart(id, key) {
  const svg = element(id);
  const values = samples.map((sample) => sample[key]).filter((value) => value !== null);
  if (values.length < 2) { svg.replaceChildren(); return; }
  const end = samples[samples.length - 1].at;
  const top = Math.max(...values, Number.MIN_VALUE) * 1.1;
  const span = Math.max(end - samples[0].at, HISTORY_MIN_MS);
  const x = (at) => (300 - (end - at) / span * 300).toFixed(1);
  const y = (value) => (39 - value / top * 38).toFixed(1);
  // A gap in what is known is a gap in the line.
  let line = "", area = "", run = [];
  const close = () => {
    if (run.length > 1) {
      line += `M${run.map((point) => `${x(point.at)} ${y(point[key])}`).join("L")}`;
      area += `M${x(run[0].at)} 40L${run.map((point) => `${x(point.at)} ${y(point[key])}`).join("L")}L${x(run[run.length - 1].at)} 40Z`;
    }
    run = [];
  };
  for (const sample of samples) { if (sample[key] === null) close(); else run.push(sample); }
  close();
  svg.setAttribute("viewBox", "0 0 300 40");
  svg.setAttribute("preserveAspectRatio", "none");
  const path = (d, name) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", "path");
    node.setAttribute("d", d);
    node.setAttribute("class", name);
    return node;
  };
  svg.replaceChildren(path(area, "area"), path(line, "line"));
}

// --- the tables ---

const rows = new Map(); // name -> {row, cells, bar}
const total = (counts) => counts.insert + counts.update + counts.delete + counts.truncate;

function tableRow(name) {
  const row = document.createElement("tr");
  const cells = {};
  for (const [key, kind] of [["name", "name"], ["destination", "name"], ["state", ""], ["copied", ""],
    ["insert", "number"], ["update", "number"], ["delete", "number"], ["rate", "number"], ["conflicts", "number"]]) {
    cells[key] = document.createElement("td");
    cells[key].className = kind;
    row.append(cells[key]);
  }
  cells.name.textContent = name;
  cells.name.title = name;
  const count = document.createElement("span");
  const bar = document.createElement("progress");
  cells.copied.append(count, bar);
  return { row, cells, count, bar };
}

function showTable(table, rate) {
  let entry = rows.get(table.name);
  if (!entry) { entry = tableRow(table.name); rows.set(table.name, entry); }
  const { cells, count, bar } = entry;
  const destination = table.destination === table.name ? "same" : table.destination ?? "";
  cells.destination.textContent = destination;
  cells.destination.title = destination;
  cells.state.textContent = words(table.state) + (table.insert_only ? " (insert-only)" : "");
  cells.state.className = TONES[table.state] ?? "";
  count.textContent = number(table.copy.rows);
  const expected = table.copy.expected_bytes;
  bar.hidden = table.state !== "copying" || !expected;
  bar.max = expected || 1;
  bar.value = Math.min(table.copy.bytes, bar.max);
  for (const op of ["insert", "update", "delete"]) cells[op].textContent = number(table.rows[op]);
  cells.rate.textContent = rate === null ? "–" : number(rate);
  cells.conflicts.textContent = number(table.conflicts);
  cells.conflicts.className = table.conflicts > 0 ? "number warn" : "number";
  return entry.row;
}

function showTables(tables, before, seconds) {
  const wanted = element("filter").value.trim().toLowerCase();
  const found = tables.filter((table) => table.name.toLowerCase().includes(wanted));
  const shown = found.slice(0, ROWS_MAX);
  const nodes = shown.map((table) => {
    const earlier = before?.get(table.name);
    return showTable(table, earlier === undefined || seconds <= 0 ? null : Math.max(0, (total(table.rows) - earlier) / seconds));
  });
  const body = element("tables");
  if (nodes.length !== body.children.length || nodes.some((node, index) => body.children[index] !== node)) {
    body.replaceChildren(...nodes);
  }
  const present = new Set(shown.map((table) => table.name));
  for (const name of rows.keys()) if (!present.has(name)) rows.delete(name);
  text("table-count", tables.length ? number(tables.length) : "");
  show("more", found.length > shown.length, `${number(found.length - shown.length)} more; the filter finds them.`);
}

// --- one answer ---

let last = null;

function showCopy(status, rate) {
  const active = status.tables.filter((table) => ["pending", "copying"].includes(table.state));
  show("copy", active.length > 0);
  if (!active.length) return;
  let done = 0, all = 0;
  for (const table of status.tables) {
    const expected = Math.max(table.copy.expected_bytes ?? 0, table.copy.bytes);
    all += expected;
    done += active.includes(table) ? table.copy.bytes : expected;
  }
  element("copy-bar").value = all ? Math.min(done / all, 1) : 0;
  const copied = status.tables.length - active.length;
  text("copy-text", `${number(copied)} of ${number(status.tables.length)} tables, ${bytes(done)} of about ${bytes(all)}, ${number(status.totals.copied_rows)} rows${rate === null ? "" : `, ${bytes(rate)}/s`}`);
}

function showHead(status) {
  document.title = `${words(status.state)} · ${status.pipeline} · sync-agent`;
  text("pipeline", status.pipeline);
  text("state", words(status.state));
  element("state").className = `badge ${TONES[status.state] ?? ""}`;
  const since = duration((Date.parse(status.at) - Date.parse(status.since)) / 1000);
  text("reason", `${status.reason} (for ${since})`);
  const server = (name, facts) => `${name}: ${facts.server_version ? `PostgreSQL ${facts.server_version}` : facts.reached ? "reached" : "not reached yet"}`;
  text("servers", `${server("source", status.source)} → ${server("destination", status.destination)}`);
  const error = status.last_error;
  const attempts = status.attempts > 1 ? `, attempt ${number(status.attempts)}` : "";
  show("error", Boolean(error?.active), error && `${error.code} ${error.message}${error.table ? ` (table ${error.table})` : ""}${attempts}`);
  text("version", `sync-agent ${status.version}`);
}

function showFigures(status, rates) {
  text("lag", duration(status.lag.seconds));
  text("lag-bytes", `${bytes(status.lag.applied_bytes)} of WAL not applied`);
  text("rate", rates.rate === null ? "–" : `${number(rates.rate)} /s`);
  text("rate-total", `${number(total(status.totals.rows))} in ${number(status.totals.transactions)} transactions`);
  text("received", rates.received === null ? "–" : `${bytes(rates.received)}/s`);
  const capacity = status.queue.capacity_bytes;
  text("queue", `${bytes(status.queue.bytes)} waiting${capacity ? ` of ${bytes(capacity)}` : ""}`);
  const slot = status.slot;
  text("slot", slot ? bytes(slot.retained_bytes) : "unknown");
  const safe = slot && slot.safe_bytes !== null ? `, ${bytes(Math.max(0, slot.safe_bytes))} more before the slot is lost` : "";
  text("slot-detail", slot ? `${slot.wal_status}, ${slot.active ? "active" : "not active"}${safe}` : "no slot seen yet");
}

function showPositions(status) {
  const facts = [["Source's WAL end", status.positions.wal_end], ["Received", status.positions.received],
    ["Applied", status.positions.applied], ["Confirmed", status.positions.confirmed],
    ["Slot restarts at", status.slot?.restart_lsn]];
  element("positions").replaceChildren(...facts.flatMap(([name, lsn]) => {
    const term = document.createElement("dt"), detail = document.createElement("dd");
    term.textContent = name;
    detail.textContent = lsn ?? "unknown";
    return [term, detail];
  }));
}

function showStatus(status) {
  const at = Date.parse(status.at);
  const counts = { at, changes: total(status.totals.rows), received: status.totals.received_bytes,
    copied: status.totals.copied_bytes,
    tables: new Map(status.tables.map((table) => [table.name, total(table.rows)])) };
  const seconds = last ? (at - last.at) / 1000 : 0;
  // A smaller counter is an agent that was started again.
  const rate = (now, before) => (seconds > 0 && now >= before ? (now - before) / seconds : null);
  const rates = { rate: rate(counts.changes, last?.changes), received: rate(counts.received, last?.received) };
  samples.push({ at, lag: status.lag.seconds, slot: status.slot?.retained_bytes ?? null, ...rates });
  while (samples[0].at < at - HISTORY_MS || samples[0].at > at) samples.shift();
  showHead(status);
  showFigures(status, rates);
  showCopy(status, rate(counts.copied, last?.copied));
  showTables(status.tables, last?.tables, seconds);
  showPositions(status);
  for (const [id, key] of [["lag-chart", "lag"], ["rate-chart", "rate"], ["received-chart", "received"], ["slot-chart", "slot"]]) chart(id, key);
  last = counts;
}

let answeredAt = null;

async function poll() {
  let pause = POLL_MS;
  try {
    const response = await fetch("/status", { signal: AbortSignal.timeout(10000) });
    if (!response.ok) throw new Error(`/status answers ${response.status}`);
    const status = await response.json();
    answeredAt = new Date();
    show("silent", false);
    showStatus(status);
    if (status.tables.length > TABLES_MANY) pause = POLL_MANY_TABLES_MS;
  } catch (error) {
    const since = answeredAt ? ` What is shown is from ${answeredAt.toLocaleTimeString()}.` : "";
    show("silent", true, `The agent does not answer (${error.message}).${since}`);
  }
  // A page in the background does not ask.
  if (document.hidden) await new Promise((resume) => document.addEventListener("visibilitychange", resume, { once: true }));
  setTimeout(poll, pause);
}

poll();
