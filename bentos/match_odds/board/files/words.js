// Everything that the page says of a value: names, reasons, numbers and times.

const MARKETS = { "1x2": "Result", over_under: "Goals", asian_handicap: "Asian handicap" };
const ORDER = Object.keys(MARKETS);

const WITHHELD = {
  in_play: "Under way: only matches that have not begun are scored",
  missing_features: "The model has no features of this match",
  no_model: "There is no model of this market",
  suspended_market: "Suspended: nobody takes bets now",
  stale_odds: "All prices are too old",
  no_odds: "There are no odds to compare with",
};

const EXCLUDED = {
  suspended: "suspended",
  stale: "too old",
  crossed: "crossed: backing and laying would pay at once",
  incomplete: "a price is missing",
  palpable_error: "a price far from all others, likely an error",
  overround_high: "margin too high to be true",
  overround_below_one: "prices that would pay for sure",
};

const percent = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const signed = new Intl.NumberFormat(undefined, {
  style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "exceptZero",
});
const price = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const moment = new Intl.DateTimeFormat(undefined, {
  weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
});
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const asPercent = (value) => (value === undefined || value === null ? "–" : percent.format(value));
export const asPrice = (value) => (value === undefined || value === null ? "–" : price.format(value));
export const asTime = (date) => time.format(date);
export const plain = (slug) => slug.replaceAll("_", " ");

export function asEdge(value) {
  if (value === undefined || value === null) return "–";
  return (value > 0 ? "▲ " : "") + signed.format(value);
}

export function utc(text) {
  return new Date(text).toISOString().slice(0, 16).replace("T", " ") + " UTC";
}

export const marketOrder = (market) => (ORDER.includes(market) ? ORDER.indexOf(market) : ORDER.length);

export const marketName = (market) => MARKETS[market] ?? plain(market);

export function selectionName({ market, line, selections }, i) {
  return market === "1x2" ? selections[i] : `${selections[i]} ${line}`;
}

export function withheldWords(market) {
  const words = WITHHELD[market.withheld] ?? plain(market.withheld);
  return { words, detail: market.withheld_detail ?? "" };
}

export const excludedWords = (reason) => EXCLUDED[reason] ?? plain(reason);

export function kickoffWords(match) {
  if (match.kickoff) return { text: moment.format(new Date(match.kickoff)), hint: utc(match.kickoff), at: match.kickoff };
  if (match.match_date) return { text: day.format(new Date(match.match_date)), hint: "Only the date is known.", at: match.match_date };
  return { text: "kick-off unknown", hint: "Nobody told when it begins.", at: "" };
}

export function age(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

// A length of time where seconds do not matter.
export function lasted(milliseconds) {
  const minutes = Math.round(milliseconds / 60000);
  if (minutes < 1) return "less than a minute";
  if (minutes < 120) return `${minutes} min`;
  if (minutes < 2880) return `${Math.round(minutes / 60)} h`;
  return `${Math.round(minutes / 1440)} days`;
}
