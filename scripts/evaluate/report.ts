/** The written results: JSON for programs, Markdown for people. */

import os from 'node:os';
import type { Drawn } from './draw.js';
import {
  byArrangement,
  commonFaults,
  groupedBy,
  markdownTable,
  percent,
  type Share,
  shareOf,
  summarise,
  table,
} from './summary.js';

/** Everything that is needed to get the same pictures again. */
export interface Settings {
  model: string;
  backend: string;
  precision: string;
  width: number;
  height: number;
  steps: number;
  renoiseSteps: number;
  guidanceScale: readonly [number, number];
  temperature: readonly [number, number];
  /** Picture i of every section uses seed + i. */
  seed: number;
}

export interface Machine {
  cpu: string;
  threads: number;
}

export function machine(): Machine {
  const cpus = os.cpus();
  return { cpu: cpus[0]?.model.trim() ?? 'unknown', threads: cpus.length };
}

/** What a section has to say. */
export interface SectionReport {
  title: string;
  /** For programs. */
  data: unknown;
  /** Body of its part of the Markdown file. */
  text: string;
}

/** "84.5 % (81–88)": the share and the 95 % interval. */
export function shareText({ pictures, share, interval: [low, high] }: Share): string {
  if (pictures === 0) return '–';
  return `${(100 * share).toFixed(1)} % (${Math.round(100 * low)}–${Math.round(100 * high)})`;
}

/** Every picture on a line of its own. */
function pictureLine({ seed, judged: { expectation, seen, verdict } }: Drawn): string {
  const objects = seen.objects.map(({ figure, colour, texture, size, x, y, half }) => ({
    figure,
    colour,
    texture,
    size,
    x: Math.round(x),
    y: Math.round(y),
    half: Math.round(half),
  }));
  const { right, faults } = verdict;
  const { caption } = expectation;
  return JSON.stringify({ caption, seed, right, faults, seen: { background: seen.background, objects } });
}

/** Results of captions: all, by number of objects, by arrangement, and what is wrong. */
export function captionsReport(title: string, drawn: readonly Drawn[]): SectionReport {
  const judged = drawn.map((each) => each.judged);
  const parts = Object.entries(groupedBy(judged, ({ expectation }) => expectation.part || 'all'));
  const arrangements = byArrangement(judged);
  const faults = commonFaults(judged);
  const shares = parts.map(([name, some]) => [name, String(some.length), shareText(shareOf(some))]);
  const text = `${markdownTable([['', 'pictures', 'wholly right'], ...shares])}

${table(summarise(judged))}

The last three rows count only captions that state a relation, a size or a texture; the rows above count captions that state none as right.

${markdownTable([
  ['arrangement', 'pictures', 'wholly right'],
  ...arrangements.map(([name, share]) => [name, String(share.pictures), shareText(share)]),
])}

${markdownTable([
  ['what is wrong', 'pictures', 'share'],
  ...(faults.length > 0 ? faults : [['nothing', 0] as const]).map(([kind, count]) => [
    kind,
    String(count),
    percent(count, drawn.length),
  ]),
])}`;
  const data = {
    parts: Object.fromEntries(parts.map(([name, some]) => [name, shareOf(some)])),
    summary: summarise(judged),
    arrangements: Object.fromEntries(arrangements),
    faults: Object.fromEntries(faults),
    pictures: drawn.map((each) => JSON.parse(pictureLine(each))),
  };
  return { title, data, text };
}

/** JSON with objects spread over lines, but each picture on one. */
export function json(settings: Settings, sections: Record<string, SectionReport>): string {
  const pictures: string[] = [];
  const data = Object.fromEntries(Object.entries(sections).map(([name, { data }]) => [name, data]));
  const text = JSON.stringify(
    { settings, machine: machine(), sections: data },
    (key, value) => {
      if (key !== 'pictures' || !Array.isArray(value)) return value;
      return value.map((picture) => `@${pictures.push(JSON.stringify(picture)) - 1}@`);
    },
    2,
  );
  return `${text.replace(/"@(\d+)@"/g, (_, index: string) => pictures[Number(index)] ?? 'null')}\n`;
}

export function markdown(
  settings: Settings,
  sections: Record<string, SectionReport>,
  command: string,
  files: readonly string[],
): string {
  const { model, width, height, steps, renoiseSteps, guidanceScale, temperature, seed, backend, precision } = settings;
  const { cpu, threads } = machine();
  const bodies = Object.values(sections).map(({ title, text }) => `## ${title}\n\n${text}\n`);
  const pictures = [
    ['sheet.png', 'Contact sheet: some of the pictures, evenly picked; wrong ones in a red frame'],
    ['steps.svg', 'Share of wholly right pictures by steps and by guidance, with 95 % intervals'],
  ]
    .filter(([ending]) => files.includes(`${model}-${ending}`))
    .map(([ending, words]) => `\n![${words}](${model}-${ending})\n`);
  return `# Evaluation of the model "${model}"

Written by \`${command}\` on ${cpu}, ${threads} threads. Unless a section says otherwise: ${width}×${height} px, ${steps} steps (tokens become noise again in the first ${renoiseSteps}), guidance ${guidanceScale.join(' → ')}, temperature ${temperature.join(' → ')}, seeds from ${seed}, backend ${backend} in ${precision}.
An independent analysis of the pixels judges every picture (\`scripts/evaluate/README.md\`); *wholly right* means that number, figures, colours, textures, stated relations, stated sizes and background are all right, that no figure is misshapen, and that nothing else is in the picture. Every caption is drawn once; nothing is picked. In brackets: the 95 % interval.
${pictures.join('')}
${bodies.join('\n')}`;
}
