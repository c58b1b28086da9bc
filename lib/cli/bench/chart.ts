/** Charts of benchmarks as SVG: two kinds, stacked bars and curves, without a library (docs/dependencies.md). */

export interface Bar {
  label: string;
  parts: { name: string; value: number }[];
}

export interface Curve {
  name: string;
  points: { x: number; y: number }[];
}

export interface Panel {
  title: string;
  unit: string;
  /** Bars lie, one below the other; curves have logarithmic axes where their values spread. */
  bars?: Bar[];
  curves?: Curve[];
  /** Of the x axis of curves. */
  xTitle?: string;
}

/** Told apart by people who see few colours: Okabe and Ito 2008. */
const colours = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#555555'];
const colour = (i: number) => colours[i % colours.length] ?? '#000000';
const width = 760;
const left = 190;
const right = 90;
const plot = width - left - right;

export function chartOf(title: string, panels: readonly Panel[]): string {
  const parts: string[] = [];
  let y = 40;
  for (const panel of panels) {
    const drawn = panel.curves ? curvesOf(panel, panel.curves) : barsOf(panel.bars ?? []);
    parts.push(`<g transform="translate(0 ${y})">${label(16, 16, panel.title, { weight: 600 })}${drawn.body}</g>`);
    y += drawn.height + 24;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    label(16, 24, title, { weight: 600, size: 15 }),
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function barsOf(bars: readonly Bar[]): { body: string; height: number } {
  const names = [...new Set(bars.flatMap(({ parts }) => parts.map(({ name }) => name)))];
  const total = ({ parts }: Bar) => parts.reduce((sum, { value }) => sum + value, 0);
  const most = Math.max(...bars.map(total), Number.MIN_VALUE);
  const body: string[] = [];
  for (const [i, bar] of bars.entries()) {
    const y = 30 + i * 24;
    let x = left;
    body.push(label(left - 8, y + 13, shortened(bar.label), { anchor: 'end' }));
    for (const { name, value } of bar.parts) {
      const length = (value / most) * plot;
      body.push(
        `<rect x="${px(x)}" y="${y}" width="${px(length)}" height="18" fill="${colour(names.indexOf(name))}"><title>${escaped(`${bar.label}: ${name} ${short(value)}`)}</title></rect>`,
      );
      x += length;
    }
    body.push(label(x + 6, y + 13, short(total(bar))));
  }
  const below = 30 + bars.length * 24;
  const legend = names.length > 1 ? legendOf(names, below + 6) : { body: '', height: 0 };
  return { body: body.join('') + legend.body, height: below + 6 + legend.height };
}

function curvesOf({ unit, xTitle = '' }: Panel, curves: readonly Curve[]): { body: string; height: number } {
  const tall = 220;
  const points = curves.flatMap((curve) => curve.points);
  const x = scaleOf(
    points.map((point) => point.x),
    left,
    left + plot,
  );
  const y = scaleOf(
    points.map((point) => point.y),
    30 + tall,
    30,
  );
  const body = [`<path d="M${left} 30V${30 + tall}H${left + plot}" fill="none" stroke="#888888"/>`];
  for (const tick of x.ticks) body.push(label(x.at(tick), 30 + tall + 16, short(tick), { anchor: 'middle' }));
  for (const tick of y.ticks)
    body.push(
      `<path d="M${left} ${px(y.at(tick))}H${left + plot}" stroke="#dddddd"/>`,
      label(left - 8, y.at(tick) + 4, `${short(tick)} ${unit}`, { anchor: 'end' }),
    );
  for (const [i, { name, points: own }] of curves.entries()) {
    const path = own.map((point) => `${px(x.at(point.x))} ${px(y.at(point.y))}`).join('L');
    body.push(`<path d="M${path}" fill="none" stroke="${colour(i)}" stroke-width="2"/>`);
    for (const point of own)
      body.push(
        `<circle cx="${px(x.at(point.x))}" cy="${px(y.at(point.y))}" r="3" fill="${colour(i)}"><title>${escaped(`${name}: ${short(point.x)}, ${short(point.y)} ${unit}`)}</title></circle>`,
      );
  }
  body.push(label(left + plot / 2, 30 + tall + 34, xTitle, { anchor: 'middle' }));
  const names = curves.map(({ name }) => name);
  const legend = names.length > 1 ? legendOf(names, 30 + tall + 46) : { body: '', height: 0 };
  return { body: body.join('') + legend.body, height: 30 + tall + 42 + legend.height };
}

function legendOf(names: readonly string[], y: number): { body: string; height: number } {
  const column = 180;
  const perLine = Math.max(1, Math.floor((width - 32) / column));
  const body = names.map((name, i) => {
    const at = { x: 16 + (i % perLine) * column, y: y + Math.floor(i / perLine) * 18 };
    return `<rect x="${at.x}" y="${at.y}" width="12" height="12" fill="${colour(i)}"/>${label(at.x + 18, at.y + 10, shortened(name))}`;
  });
  return { body: body.join(''), height: Math.ceil(names.length / perLine) * 18 };
}

interface Scale {
  at(value: number): number;
  ticks: number[];
}

/** Logarithmic where all values are positive and the largest is more than eight times the smallest; else from 0. */
function scaleOf(values: readonly number[], from: number, to: number): Scale {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (low > 0 && high > 8 * low) {
    const position = (value: number) => Math.log(value / low) / Math.log(high / low);
    const ticks = decades(low, high);
    return { at: (value) => from + position(value) * (to - from), ticks };
  }
  const most = high > 0 ? high : 1;
  const step = niceStep(most / 5);
  const ticks = Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
  return { at: (value) => from + (value / most) * (to - from), ticks };
}

/** 1, 2, 5, 10, … within the range. */
function decades(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
    for (const factor of [1, 2, 5]) if (factor * power >= low && factor * power <= high) ticks.push(factor * power);
  return ticks.length > 8 ? ticks.filter((tick) => /^[\d.]*1(0*|e[+-]\d+)$/.test(String(tick))) : ticks;
}

function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10);
}

const px = (value: number) => String(Math.round(value * 10) / 10);
const short = (value: number) => String(Number(value.toPrecision(3)));
const shortened = (text: string) => (text.length > 28 ? `${text.slice(0, 27)}…` : text);

interface LabelStyle {
  anchor?: 'middle' | 'end';
  weight?: number;
  size?: number;
}

function label(x: number, y: number, text: string, { anchor, weight, size }: LabelStyle = {}): string {
  const style = [
    anchor && ` text-anchor="${anchor}"`,
    weight && ` font-weight="${weight}"`,
    size && ` font-size="${size}"`,
  ].filter(Boolean);
  return `<text x="${px(x)}" y="${px(y)}"${style.join('')}>${escaped(text)}</text>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
