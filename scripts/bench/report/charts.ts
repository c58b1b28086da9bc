/** The charts of a machine, drawn from its rows. */
import { type Bar, type Curve, chartOf, type Panel } from '../../../lib/cli/bench/chart.js';
import type { BenchRow } from '../../../lib/cli/bench/schema.js';
import { imageMs, isImage, type Machine, type MachineRow, medianMs, size, turnsOf, usualRows } from './machines.js';

export interface Chart {
  /** Without folder. */
  file: string;
  /** What it shows, for those who do not see it. */
  alt: string;
  svg: string;
}

export function chartsOf(machine: Machine): Chart[] {
  const made = [besideOthers(machine), against(machine)];
  return made.flatMap((chart) => (chart ? [chart] : []));
}

/** Charts have room for some twenty letters. */
const shortNames: readonly [name: RegExp, short: string][] = [
  [/^random:/, ''],
  [/^stable-diffusion-v1-5$/, 'SD 1.5'],
  [/^lcm-dreamshaper-v7$/, 'LCM'],
];
const programs: Readonly<Record<string, string>> = { 'pytorch-paella': 'PyTorch', 'stable-diffusion.cpp': 'sd.cpp' };

/** 'paella-v3-256', 'SD 1.5 compiled', 'SD 1.5 sd.cpp' */
function short({ subject, model, compile }: BenchRow): string {
  const name = shortNames.reduce((text, [long, brief]) => text.replace(long, brief), model);
  const how = [programs[subject], compile !== null && compile !== 'eager' ? 'compiled' : undefined];
  return [name, ...how.filter((part) => part !== undefined)].join(' ');
}

/** Time of an image, by stage: a panel for each size that a run of bench:peers had. */
function besideOthers({ name, slug, rows }: Machine): Chart | undefined {
  const panels = [...turnsOf(rows).values()].flatMap((group) => {
    const sizes = [...new Set(group.map(size))];
    return sizes.map((pixels): Panel => {
      const own = usualRows(group.filter((row) => size(row) === pixels && row.batch === 1));
      return {
        title: `${pixels} px: seconds of an image, by stage; beside each name its number of steps`,
        unit: 's',
        bars: own.map(barOf),
      };
    });
  });
  const shown = panels.filter(({ bars }) => (bars?.length ?? 0) > 0);
  if (shown.length === 0) return undefined;
  return {
    file: `${slug}-images.svg`,
    alt: `Seconds of an image by program, model and stage, on ${name}`,
    svg: chartOf(`Time of an image on ${name}, in turns`, shown),
  };
}

/** All parts of every bar, so that each has its colour in all panels. */
function barOf(row: BenchRow): Bar {
  const { encode_text: text = 0, prior = 0, decode = 0, denoise = 0 } = row.stages;
  const other = Math.max(0, medianMs(row) - text - prior - decode - denoise);
  const parts = Object.entries({ 'text encoding': text, prior, steps: denoise, decode, other });
  return {
    label: `${short(row)}, ${row.steps}`,
    parts: parts.map(([name, ms]) => ({ name, value: ms / row.batch / 1000 })),
  };
}

const axes = {
  steps: { title: 'steps', of: ({ steps }: BenchRow) => steps },
  pixels: { title: 'pixels of a side', of: ({ width }: BenchRow) => width },
  batch: { title: 'images of a batch', of: ({ batch }: BenchRow) => batch },
} as const;

/** Time of an image against steps, pixels and batch: a curve for all rows that differ in nothing else. */
function against({ name, slug, rows }: Machine): Chart | undefined {
  const panels = (['steps', 'pixels', 'batch'] as const).flatMap((axis): Panel[] => {
    // Sizes are far apart: a panel for each, where they are not what changes.
    const groups =
      axis === 'pixels' ? [rows] : [...new Set(rows.map(size))].map((px) => rows.filter((row) => size(row) === px));
    return groups.flatMap((group): Panel[] => {
      const curves = curvesAlong(group.filter(isImage), axis);
      const [first] = curves;
      if (!first) return [];
      const only = curves.length === 1 ? `: ${first.name}` : '';
      const { title } = axes[axis];
      return [{ title: `Seconds of an image against ${title}${only}`, unit: 's', xTitle: title, curves }];
    });
  });
  if (panels.length === 0) return undefined;
  return {
    file: `${slug}-scaling.svg`,
    alt: `Seconds of an image against steps, pixels and batch, on ${name}`,
    svg: chartOf(`Time of an image on ${name}`, panels),
  };
}

function curvesAlong(rows: readonly MachineRow[], axis: keyof typeof axes): Curve[] {
  const groups = new Map<string, MachineRow[]>();
  for (const row of rows.filter((each) => each.axis === undefined || each.axis === axis)) {
    const { file, axis: own, subject, model, precision, compile, scheduler, threads, width, steps, batch } = row;
    const fixed = { width, steps, batch, [axis === 'pixels' ? 'width' : axis]: 'changes' };
    const key = JSON.stringify([file, own, subject, model, precision, compile, scheduler, threads, fixed]);
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].flatMap((group) => {
    const points = group
      .map((row) => ({ x: axes[axis].of(row), y: imageMs(row) / 1000 }))
      .toSorted((a, b) => a.x - b.x);
    const [first] = group;
    if (!first || new Set(points.map(({ x }) => x)).size < 2) return [];
    const rest = axis === 'pixels' ? `${first.steps} ${first.steps === 1 ? 'step' : 'steps'}` : `${size(first)} px`;
    return [{ name: `${short(first)}, ${rest}`, points }];
  });
}
