// What a match looks like. Rows are made once and then changed in place, so that focus and what was opened stay.
// Text from data goes through textContent only.

import {
  age, asEdge, asPercent, asPrice, excludedWords, kickoffWords, lasted, marketName, plain, selectionName, withheldWords,
} from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 96, HEIGHT = 28;
const SMALLEST_SPAN = 0.02; // less would show noise as if it were news
const GLOW = 1600;

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function put(node, text) {
  if (node.textContent === text) return false;
  node.textContent = text;
  return true;
}

// The name of a market and what its numbers are, over the columns of its lines.
export function columnLabels(tag, className) {
  const made = element(tag, className);
  made.append(element("span", "name"));
  for (const [label, place] of [["market", "of"], ["model", "of"], ["best price", "of wide"], ["edge", "of"]]) {
    made.append(element("span", place, label));
  }
  return made;
}

function hidden(words) {
  return element("span", "unseen", words);
}

export class MatchRow {
  constructor(match, columns) {
    this.node = element("tr");
    this.node.setAttribute("role", "row");
    this.name = element("th", "match");
    this.name.setAttribute("role", "rowheader");
    this.name.scope = "row";
    this.teams = element("span", "teams");
    this.where = element("span", "where");
    this.league = element("span", "league");
    this.kickoff = element("time");
    this.begun = element("span", "begun");
    this.where.append(this.league, this.kickoff, this.begun);
    this.name.append(this.teams, this.where);
    this.node.append(this.name);
    this.cells = new Map();
    this.setColumns(columns);
    this.setMatch(match);
  }

  setColumns(columns) {
    for (const market of columns) {
      const cell = this.cells.get(market) ?? new MarketCell(market);
      this.cells.set(market, cell);
      this.node.append(cell.node);
    }
  }

  setMatch(match) {
    this.match = match;
    put(this.teams, match.home && match.away ? `${match.home} – ${match.away}` : match.match_id);
    put(this.league, match.league ?? "not known to the platform yet");
    const { text, hint, at } = kickoffWords(match);
    put(this.kickoff, text);
    this.kickoff.title = hint;
    this.kickoff.dateTime = at;
  }

  tick(now) {
    const begun = this.match.kickoff && Date.parse(this.match.kickoff) <= now;
    put(this.begun, begun ? "begun" : "");
    for (const cell of this.cells.values()) cell.tick(now);
  }
}

class MarketCell {
  constructor() {
    this.node = element("td", "market");
    this.node.setAttribute("role", "cell");
    this.head = columnLabels("p", "head");
    this.heading = this.head.firstChild;
    this.lines = element("ul", "lines");
    this.foot = element("p", "foot");
    this.spark = new Sparkline();
    this.age = element("span", "age");
    this.model = element("span", "quiet");
    this.moved = element("span", "moved");
    this.foot.append(this.spark.node, this.moved);
    this.notes = element("div", "notes");
    this.notes.append(this.age, this.model);
    this.withheld = element("p", "withheld");
    this.excluded = null;
    this.none = element("p", "quiet", "no odds yet");
    this.node.append(this.none);
  }

  set(market, history) {
    const first = !this.market;
    this.market = market;
    if (first) this.node.replaceChildren(this.head, this.lines, this.withheld, this.foot, this.notes);
    put(this.heading, marketName(market.market));
    this.setLines(first);
    this.setWithheld();
    this.setExcluded();
    put(this.model, market.model_version
      ? `${plain(market.variant ?? "model")} v${market.model_version}` : "no model answered");
    this.model.title = market.bento ?? "";
    put(this.moved, this.spark.draw(history, selectionName(market, 0)));
  }

  setLines(first) {
    const { selections } = this.market;
    while (this.lines.children.length > selections.length) this.lines.lastChild.remove();
    selections.forEach((_, i) => {
      const line = this.lines.children[i]?.line ?? this.addLine();
      const moved = line.set(this.market, i);
      if (moved && !first) glow(line.node);
    });
  }

  addLine() {
    const line = new Line();
    line.node.line = line;
    this.lines.append(line.node);
    return line;
  }

  setWithheld() {
    this.withheld.hidden = !this.market.withheld;
    if (!this.market.withheld) return;
    const { words, detail } = withheldWords(this.market);
    put(this.withheld, detail && detail !== words ? `${words} (${detail})` : words);
  }

  setExcluded() {
    const books = this.market.excluded;
    if (!books.length) {
      this.excluded?.node.remove();
      this.excluded = null;
      return;
    }
    if (!this.excluded) {
      const node = element("details", "excluded"), summary = element("summary"), list = element("ul");
      node.append(summary, list);
      this.excluded = { node, summary, list };
      this.notes.append(node);
    }
    put(this.excluded.summary, books.length === 1 ? "1 book left out" : `${books.length} books left out`);
    const told = books.map((book) => `${book.bookmaker}: ${excludedWords(book.reason)} (${book.detail})`);
    if (told.join("\n") === this.excluded.told) return;
    this.excluded.told = told.join("\n");
    this.excluded.list.replaceChildren(...told.map((text) => element("li", "", text)));
  }

  tick(now) {
    if (this.market) put(this.age, `odds ${age(now - Date.parse(this.market.taken_at))} old`);
  }
}

class Line {
  constructor() {
    this.node = element("li");
    this.label = element("span", "label");
    this.bars = element("span", "bars");
    this.bars.setAttribute("aria-hidden", "true");
    this.marketBar = element("i", "bar market");
    this.modelBar = element("i", "bar model");
    this.bars.append(this.marketBar, this.modelBar);
    this.market = element("span", "number");
    this.model = element("span", "number strong");
    this.price = element("span", "number");
    this.book = element("span", "book");
    this.edge = element("span", "number edge");
    this.node.append(
      this.label, this.bars, hidden(" market "), this.market, hidden(", model "), this.model,
      hidden(", best price "), this.price, this.book, hidden(", edge "), this.edge,
    );
  }

  set(market, i) {
    const { market_probabilities: consensus, probabilities, best_prices: prices, best_bookmakers: books, edges } = market;
    put(this.label, selectionName(market, i));
    this.marketBar.style.width = `${100 * (consensus[i] ?? 0)}%`;
    this.modelBar.style.width = `${100 * (probabilities[i] ?? 0)}%`;
    const moved = [
      put(this.market, asPercent(consensus[i])),
      put(this.model, asPercent(probabilities[i])),
      put(this.price, asPrice(prices[i])),
      put(this.edge, asEdge(edges[i])),
    ];
    put(this.book, prices[i] ? (books[i] ?? "") : "");
    this.book.title = books[i] ?? "";
    this.edge.classList.toggle("up", edges[i] > 0);
    return moved.includes(true);
  }
}

class Sparkline {
  constructor() {
    this.node = document.createElementNS(SVG, "svg");
    this.node.setAttribute("class", "spark");
    this.node.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.node.setAttribute("role", "img");
    this.title = document.createElementNS(SVG, "title");
    this.path = document.createElementNS(SVG, "path");
    this.dot = document.createElementNS(SVG, "circle");
    this.dot.setAttribute("r", "2.5");
    this.node.append(this.title, this.path, this.dot);
  }

  // Steps: a probability holds until the next one. Returns the same in words.
  draw(history, selection) {
    this.node.toggleAttribute("hidden", !history.length);
    if (!history.length) return "";
    const values = history.map((point) => point[1]);
    const low = Math.min(...values), high = Math.max(...values);
    const span = Math.max(high - low, SMALLEST_SPAN), bottom = (low + high - span) / 2;
    const began = history[0][0], took = Math.max(history.at(-1)[0] - began, 1);
    const x = (at) => 3 + (WIDTH - 8) * Math.min(1, Math.max(0, (at - began) / took));
    const y = (value) => HEIGHT - 4 - (HEIGHT - 8) * ((value - bottom) / span);
    let d = `M${x(began).toFixed(1)} ${y(values[0]).toFixed(1)}`;
    for (const [at, value] of history.slice(1)) d += `H${x(at).toFixed(1)}V${y(value).toFixed(1)}`;
    if (history.length === 1) d += `H${WIDTH - 5}`;
    this.path.setAttribute("d", d);
    this.dot.setAttribute("cx", history.length === 1 ? WIDTH - 5 : x(history.at(-1)[0]).toFixed(1));
    this.dot.setAttribute("cy", y(values.at(-1)).toFixed(1));
    const words = history.length === 1
      ? `${selection} unmoved` : `${selection} from ${asPercent(values[0])} in ${lasted(1000 * took)}`;
    put(this.title, `The market's probability of ${words}`);
    this.node.setAttribute("aria-label", "movement of the market");
    return words;
  }
}

function glow(node) {
  clearTimeout(node.glowing);
  node.classList.remove("changed");
  void node.offsetWidth; // so that the animation begins anew
  node.classList.add("changed");
  node.glowing = setTimeout(() => node.classList.remove("changed"), GLOW);
}
