// The board: holds what the service told, and decides which matches are shown in which order.

import { MatchRow, columnLabels, element } from "./drawing.js";
import { Stream } from "./stream.js";
import { asTime, marketName, marketOrder, utc } from "./words.js";

const KEY = "betting-api-key";
const PAGE = 100; // matches that are drawn; more on demand
const MOST_POINTS = 61;
const REORDER = 5000; // milliseconds between two orders by edge, so that nothing runs away under a finger
const LONG_AGO = 9e15;

const by = (id) => document.getElementById(id);
const matches = new Map(); // id → match
const markets = new Map(); // id → Map of market → {market, history}
const rows = new Map(); // id → MatchRow
let board = null; // the newest message without matches and markets
let skew = 0;
let shown = PAGE;
let columns = [];
let orderedAt = 0;

// ---- what the service says

function message(kind, told) {
  if (kind === "board") forgetAll(told);
  board = { clock: told.clock, replayed: told.replayed, status: told.status, serving: told.serving };
  skew = Date.parse(told.clock) - Date.now();
  const changed = new Set();
  for (const match of told.matches) {
    matches.set(match.match_id, match);
    changed.add(match.match_id);
  }
  for (const market of told.markets) {
    keep(market);
    changed.add(market.match_id);
  }
  for (const id of told.gone) forget(id);
  arrange();
  for (const id of changed) redraw(id);
  tell();
}

function keep(market) {
  const mine = markets.get(market.match_id) ?? new Map();
  markets.set(market.match_id, mine);
  const history = market.history ?? mine.get(market.market)?.history ?? [];
  const point = market.market_probabilities[0];
  if (!market.history && point !== undefined && history.at(-1)?.[1] !== point) {
    history.push([Date.parse(market.taken_at) / 1000, point]);
    if (history.length > MOST_POINTS) history.shift();
  }
  mine.set(market.market, { market, history });
}

function forget(id) {
  matches.delete(id);
  markets.delete(id);
  rows.get(id)?.node.remove();
  rows.delete(id);
}

// A whole board: rows of matches that are still there stay, with what was opened in them.
function forgetAll(told) {
  const present = new Set(told.matches.map((match) => match.match_id));
  for (const id of matches.keys()) if (!present.has(id)) forget(id);
}

const now = () => (board?.replayed ? Date.parse(board.clock) : Date.now() + skew);

// ---- which matches, in which order

function fits(match) {
  const league = by("league").value, text = by("find").value.trim().toLowerCase();
  if (league && match.league !== league) return false;
  return [match.home, match.away, match.league, match.match_id].join(" ").toLowerCase().includes(text);
}

function bestEdge(id) {
  let best = -Infinity;
  for (const { market } of markets.get(id)?.values() ?? []) best = Math.max(best, ...market.edges);
  return best;
}

function begins(match) {
  return Date.parse(match.kickoff ?? match.match_date ?? "") || LONG_AGO;
}

function wanted() {
  const found = [...matches.values()].filter(fits);
  const soonest = (a, b) => begins(a) - begins(b) || a.match_id.localeCompare(b.match_id);
  if (by("order").value === "kickoff") return found.sort(soonest);
  const edges = new Map(found.map((match) => [match.match_id, bestEdge(match.match_id)]));
  return found.sort((a, b) => edges.get(b.match_id) - edges.get(a.match_id) || soonest(a, b));
}

function mayReorder() {
  if (by("order").value === "kickoff") return true;
  return Date.now() - orderedAt > REORDER && !by("rows").contains(document.activeElement);
}

function arrange(asked = false) {
  setColumns();
  setLeagues();
  const found = wanted(), drawn = found.slice(0, shown), body = by("rows");
  const ids = new Set(drawn.map((match) => match.match_id));
  for (const [id, row] of rows) if (!ids.has(id)) { row.node.remove(); rows.delete(id); }
  const reorder = asked || mayReorder();
  if (reorder) orderedAt = Date.now();
  drawn.forEach((match, i) => {
    let row = rows.get(match.match_id);
    if (!row) row = draw(match);
    if (row.node.parentNode !== body || (reorder && body.children[i] !== row.node)) {
      body.insertBefore(row.node, body.children[i] ?? null);
    }
  });
  by("more").hidden = found.length <= shown;
  by("more").textContent = `Show ${Math.min(PAGE, found.length - shown)} more of ${found.length} matches`;
  count(found);
  notice(found);
}

function draw(match) {
  const row = new MatchRow(match, columns);
  rows.set(match.match_id, row);
  fill(row);
  return row;
}

function redraw(id) {
  const row = rows.get(id);
  if (!row || !matches.has(id)) return;
  row.setMatch(matches.get(id));
  fill(row);
}

function fill(row) {
  for (const [name, { market, history }] of markets.get(row.match.match_id) ?? []) row.cells.get(name)?.set(market, history);
  row.tick(now());
}

// ---- the frame around the matches

function setColumns() {
  const names = new Set();
  for (const mine of markets.values()) for (const name of mine.keys()) names.add(name);
  const found = [...names].sort((a, b) => marketOrder(a) - marketOrder(b));
  if (found.join() === columns.join()) return;
  columns = found;
  const heads = ["Match", ...columns.map((name) => marketName(name))].map((text, i) => {
    const head = element("th", i ? "market" : "match");
    head.scope = "col";
    head.setAttribute("role", "columnheader");
    const labels = i ? columnLabels("div", "labels") : element("div", "", text);
    if (i) labels.firstChild.textContent = text;
    head.append(labels);
    return head;
  });
  by("columns").replaceChildren(...heads);
  for (const row of rows.values()) row.setColumns(columns);
}

function setLeagues() {
  const found = [...new Set([...matches.values()].map((match) => match.league).filter(Boolean))].sort();
  const select = by("league"), there = [...select.options].slice(1).map((option) => option.value);
  if (found.join("\n") === there.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...found.map((league) => {
    const option = element("option", "", league);
    option.value = league;
    return option;
  }));
  select.value = found.includes(chosen) ? chosen : "";
}

function count(found) {
  let withheld = 0, all = 0;
  for (const match of found) {
    for (const { market } of markets.get(match.match_id)?.values() ?? []) {
      all += 1;
      if (market.withheld) withheld += 1;
    }
  }
  const some = found.length === matches.size ? "" : `${found.length} of `;
  by("count").textContent = `${some}${matches.size} matches, ${all} markets, ${withheld} withheld`;
}

function notice(found) {
  const place = by("notice"), told = [];
  if (matches.size && !found.length) told.push("No match fits what you look for.");
  if (!matches.size && board?.status.state === "empty") {
    told.push("No prediction was landed yet.", "Start the stream, each in a terminal of its own:");
    told.push(["betting stream land", "betting stream score", "betting replay PATH --speed 60"]);
    told.push("or all at once, with simulated matches: BETTING_LIVE_FEED=simulator betting up");
  } else if (!matches.size && board?.status.state === "live") {
    told.push("No match is to come: all that were predicted are over. New ones appear here by themselves.");
  }
  place.hidden = !told.length;
  by("matches").hidden = !matches.size;
  if (place.told === JSON.stringify(told)) return;
  place.told = JSON.stringify(told);
  place.replaceChildren(...told.map((line) => {
    if (typeof line === "string") return element("p", "", line);
    const list = element("ul");
    list.append(...line.map((command) => { const item = element("li"); item.append(element("code", "", command)); return item; }));
    return list;
  }));
}

function tell() {
  const { serving, status, replayed, clock } = board;
  const models = Object.entries(serving.models).map(([market, version]) => `${marketName(market).toLowerCase()} v${version}`);
  const deployment = serving.deployment === null ? "" : `deployment ${serving.deployment}, `;
  by("serving").textContent = `Serves ${deployment}models ${models.join(", ")}`;
  by("serving").title = serving.bento;
  by("replay").hidden = !replayed;
  by("replay").textContent = `Matches of the past are replayed: for them it is ${utc(clock)}.`;
  if (status.state === "away") state("stale", status.detail, awaySince ??= new Date());
  else {
    awaySince = null;
    state("live", "live");
  }
}

let awaySince = null;

function state(name, words, since = null) {
  const place = by("connection");
  const text = name === "stale" && since ? `stale since ${asTime(since)}: ${words}` : words;
  place.dataset.state = name;
  const said = place.querySelector(".words");
  if (said.textContent !== text) said.textContent = text;
  document.body.classList.toggle("stale", name === "stale");
}

// ---- the key, and what a person does

let stream = null;

function start() {
  by("key").hidden = true;
  by("board").hidden = false;
  by("forget").hidden = !sessionStorage.getItem(KEY);
  stream = new Stream("board/events", () => sessionStorage.getItem(KEY), { message, state, keyWanted });
  stream.run();
}

function keyWanted() {
  by("key-refused").textContent = sessionStorage.getItem(KEY) ? "That key was refused." : "";
  sessionStorage.removeItem(KEY);
  forgetAll({ matches: [] });
  by("board").hidden = true;
  by("key").hidden = false;
  by("key-field").focus();
  state("closed", "an API key is wanted");
}

by("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, by("key-field").value.trim());
  by("key-field").value = "";
  state("starting", "connecting");
  start();
});
by("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});
by("controls").addEventListener("submit", (event) => event.preventDefault());
by("controls").addEventListener("input", () => {
  shown = PAGE;
  arrange(true);
});
by("more").addEventListener("click", () => {
  shown += PAGE;
  arrange();
});
setInterval(() => {
  if (board) for (const row of rows.values()) row.tick(now());
}, 1000);

start();
