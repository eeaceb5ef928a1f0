/**
 * Draws results as SVG, without a library: horizontal bars with whiskers (lowest to highest round), and lines over a
 * logarithmic axis. Colours follow the reader's light or dark scheme; the background stays transparent.
 */

const WIDTH = 960;
const COLUMN_GAP = 40;
const COLUMN_WIDTH = (WIDTH - COLUMN_GAP) / 2;
const LABEL_WIDTH = 190;
const VALUE_WIDTH = 85;
const BAR_HEIGHT = 18;
const BAR_GAP = 7;
const PANEL_HEADER = 46;
const PANEL_GAP = 24;

const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #24292f; }
  .title { font-weight: 600; font-size: 15px; }
  .note { fill: #57606a; font-size: 12px; }
  .weft { font-weight: 600; }
  .bar { fill: #9aa5b1; }
  .bar.weft, .dot.weft { fill: #d9730d; }
  .dot { fill: #9aa5b1; }
  .line { fill: none; stroke: #9aa5b1; stroke-width: 2; }
  .line.weft { stroke: #d9730d; }
  .whisker, .axis { stroke: #57606a; stroke-width: 1; fill: none; }
  .grid { stroke: #57606a; stroke-opacity: 0.2; fill: none; }
  .limit { stroke: #1a7f37; stroke-width: 1.5; stroke-dasharray: 5 4; fill: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .note { fill: #9da7b1; }
    .bar, .dot { fill: #6e7781; }
    .line { stroke: #6e7781; }
    .whisker, .axis, .grid { stroke: #9da7b1; }
    .limit { stroke: #3fb950; }
  }`;

/** @param {string} text */
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
/** @param {number} value */
const rounded = (value) => Number(value.toFixed(1));

/** @param {number} height @param {string} description @param {string[]} parts */
function documentOf(height, description, parts) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${Math.ceil(height)}" width="${WIDTH}" height="${Math.ceil(height)}" role="img">`,
    `<title>${escaped(description)}</title>`,
    `<style>${STYLE}\n</style>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

/**
 * @typedef {{ label: string, emphasis: boolean, value: number, min: number, max: number, text: string }} Bar
 * @typedef {{ title: string, note: string, bars: Bar[] }} Panel
 */

/**
 * Panels of bars, two beside each other; null leaves a place empty.
 * @param {string} description
 * @param {(Panel | null)[]} panels
 * @param {string} footer
 */
export function barChart(description, panels, footer) {
  const parts = [];
  let top = 8;
  for (let index = 0; index < panels.length; index += 2) {
    let height = 0;
    for (const column of [0, 1]) {
      const panel = panels[index + column];
      if (!panel) continue;
      parts.push(...panelParts(panel, column * (COLUMN_WIDTH + COLUMN_GAP), top));
      height = Math.max(height, PANEL_HEADER + panel.bars.length * (BAR_HEIGHT + BAR_GAP));
    }
    top += height + PANEL_GAP;
  }
  parts.push(`<text class="note" x="0" y="${top + 4}">${escaped(footer)}</text>`);
  return documentOf(top + 16, description, parts);
}

/** @param {Panel} panel @param {number} left @param {number} top */
function panelParts(panel, left, top) {
  const longest = Math.max(...panel.bars.map((bar) => bar.max));
  const scale = (COLUMN_WIDTH - LABEL_WIDTH - VALUE_WIDTH) / longest;
  return [
    `<text class="title" x="${left}" y="${top + 14}">${escaped(panel.title)}</text>`,
    `<text class="note" x="${left}" y="${top + 33}">${escaped(panel.note)}</text>`,
    ...panel.bars.flatMap((bar, index) =>
      barParts(bar, left + LABEL_WIDTH, top + PANEL_HEADER + index * (BAR_HEIGHT + BAR_GAP), scale),
    ),
  ];
}

/** @param {Bar} bar @param {number} left where the bar starts @param {number} top @param {number} scale */
function barParts(bar, left, top, scale) {
  const kind = bar.emphasis ? ' weft' : '';
  const middle = top + BAR_HEIGHT / 2;
  const [low, high] = [rounded(left + bar.min * scale), rounded(left + bar.max * scale)];
  return [
    `<text class="${kind.trim()}" x="${left - 8}" y="${middle + 4.5}" text-anchor="end">${escaped(bar.label)}</text>`,
    `<rect class="bar${kind}" x="${left}" y="${top}" width="${rounded(bar.value * scale)}" height="${BAR_HEIGHT}" rx="2"/>`,
    `<path class="whisker" d="M${low} ${middle - 4}v8M${low} ${middle}H${high}M${high} ${middle - 4}v8"/>`,
    `<text class="${kind.trim()}" x="${high + 7}" y="${middle + 4.5}">${escaped(bar.text)}</text>`,
  ];
}

/**
 * @typedef {{ label: string, emphasis: boolean, points: { x: number, y: number }[] }} Series
 */

const PLOT_HEIGHT = 300;
const PLOT_LEFT = 60;
const PLOT_RIGHT = 190;

/**
 * Lines over a logarithmic horizontal axis that starts at 1; the vertical one starts at 0.
 * @param {{ description: string, title: string, note: string, xLabel: string, yLimit?: number, series: Series[], footer: string }} chart
 */
export function lineChart({ description, title, note, xLabel, yLimit, series, footer }) {
  const points = series.flatMap((one) => one.points);
  const decades = Math.max(1, Math.ceil(Math.log10(Math.max(...points.map((point) => point.x)))));
  const step = niceStep(Math.max(yLimit ?? 0, ...points.map((point) => point.y)));
  const highest = step * 5;
  const [top, right] = [58, WIDTH - PLOT_RIGHT];
  const bottom = top + PLOT_HEIGHT;
  const x = (/** @type {number} */ value) => rounded(PLOT_LEFT + ((right - PLOT_LEFT) * Math.log10(value)) / decades);
  const y = (/** @type {number} */ value) => rounded(bottom - (PLOT_HEIGHT * value) / highest);
  const parts = [
    `<text class="title" x="0" y="22">${escaped(title)}</text>`,
    `<text class="note" x="0" y="41">${escaped(note)}</text>`,
  ];
  for (let line = 0; line <= 5; line++) {
    parts.push(`<path class="grid" d="M${PLOT_LEFT} ${y(line * step)}H${right}"/>`);
    parts.push(
      `<text class="note" x="${PLOT_LEFT - 8}" y="${y(line * step) + 4}" text-anchor="end">${line * step}</text>`,
    );
  }
  for (let decade = 0; decade <= decades; decade++) {
    const text = (10 ** decade).toLocaleString('en-US');
    parts.push(`<text class="note" x="${x(10 ** decade)}" y="${bottom + 18}" text-anchor="middle">${text}</text>`);
  }
  parts.push(`<path class="axis" d="M${PLOT_LEFT} ${top}V${bottom}H${right}"/>`);
  if (yLimit !== undefined) {
    parts.push(`<path class="limit" d="M${PLOT_LEFT} ${y(yLimit)}H${right}"/>`);
    parts.push(`<text class="note" x="${right + 8}" y="${y(yLimit) + 4}">target: at most ${yLimit}</text>`);
  }
  for (const one of series) parts.push(...seriesParts(one, x, y));
  parts.push(
    `<text class="note" x="${(PLOT_LEFT + right) / 2}" y="${bottom + 38}" text-anchor="middle">${escaped(xLabel)}</text>`,
  );
  parts.push(`<text class="note" x="0" y="${bottom + 64}">${escaped(footer)}</text>`);
  return documentOf(bottom + 76, description, parts);
}

/** @param {Series} one @param {(value: number) => number} x @param {(value: number) => number} y */
function seriesParts(one, x, y) {
  const kind = one.emphasis ? ' weft' : '';
  const last = one.points[one.points.length - 1];
  return [
    `<path class="line${kind}" d="M${one.points.map((point) => `${x(point.x)} ${y(point.y)}`).join('L')}"/>`,
    ...one.points.map((point) => `<circle class="dot${kind}" cx="${x(point.x)}" cy="${y(point.y)}" r="3.5"/>`),
    `<text class="${kind.trim()}" x="${x(last.x) + 10}" y="${y(last.y) + 4}">${escaped(one.label)}</text>`,
  ];
}

/** A fifth of an axis that holds `highest`, as people count: 1, 2 or 5 times a power of ten. @param {number} highest */
function niceStep(highest) {
  const raw = highest / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const leading = raw / power;
  return power * (leading <= 1 ? 1 : leading <= 2 ? 2 : leading <= 5 ? 5 : 10);
}
