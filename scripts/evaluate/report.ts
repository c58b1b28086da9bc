/** The written results: JSON for programs, Markdown for people. */

import type { Judged } from './judge.js';
import { summarise, table } from './summary.js';

/** Everything that is needed to get the same pictures again. */
export interface Settings {
  model: string;
  backend: string;
  precision: string;
  captions: string;
  width: number;
  height: number;
  steps: number;
  guidanceScale: readonly [number, number];
  temperature: readonly [number, number];
  /** Picture i uses seed + i. */
  seed: number;
}

export interface Result {
  seed: number;
  judged: Judged;
}

export function json(settings: Settings, results: readonly Result[]): string {
  const head = JSON.stringify({ settings, summary: summarise(results.map(({ judged }) => judged)) }, null, 2);
  const pictures = results.map(({ seed, judged: { expectation, seen, verdict } }) => {
    const objects = seen.objects.map(({ shape, colour, size, x, y }) => ({
      shape,
      colour,
      size,
      x: Math.round(x),
      y: Math.round(y),
    }));
    const { right, faults } = verdict;
    return `    ${JSON.stringify({ caption: expectation.caption, seed, right, faults, seen: { background: seen.background, objects } })}`;
  });
  return `${head.slice(0, -2)},\n  "pictures": [\n${pictures.join(',\n')}\n  ]\n}\n`;
}

/** The kinds of fault, without the objects that have them, by how many pictures show them. */
function commonFaults(results: readonly Result[]): Array<readonly [string, number]> {
  const counts = new Map<string, number>();
  for (const { judged } of results) {
    const kinds = new Set(
      judged.verdict.faults.map((fault) =>
        fault
          .replace(/^no .*/, 'an object is missing')
          .replace(/^.*: (colour|shape) (\w+)$/, (_, what: string, name: string) =>
            name === 'unclear' ? `a ${what} is unclear` : `a ${what} is another`,
          )
          .replace(/^.*: (small|medium|large), not .*$/, 'a size is another')
          .replace(/^\d+ objects instead of .*/, 'too many or too few objects')
          .replace(/^[a-z ]+ not (above|below|left of|right of) [a-z ]+$/, 'a relation does not hold')
          .replace(/^background .*/, 'the background is another or unclear')
          .replace(/^stray pixels.*/, 'stray pixels'),
      ),
    );
    for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}

export function markdown(settings: Settings, results: readonly Result[], command: string): string {
  const { model, captions, width, height, steps, guidanceScale, temperature, seed, backend, precision } = settings;
  const faults = commonFaults(results).map(([kind, count]) => `| ${kind} | ${count} |`);
  return `# Evaluation of the model "${model}"

Written by \`${command}\`. Captions: \`${captions}\`; ${width}×${height} px, ${steps} steps, guidance ${guidanceScale.join(' → ')}, temperature ${temperature.join(' → ')}, seeds from ${seed}, backend ${backend} in ${precision}.
An independent analysis of the pixels judges every picture (\`scripts/evaluate/README.md\`); *wholly right* means that number, colours, shapes, stated relations, stated sizes and background are all right, and that nothing else is in the picture. Every caption is drawn once; nothing is picked.

${table(summarise(results.map(({ judged }) => judged)))}

The two last rows count only captions that state a relation or a size; the rows above count captions that state none as right.

| what is wrong | pictures |
|---|---:|
${faults.length > 0 ? faults.join('\n') : '| nothing | 0 |'}

![Contact sheet: some of the pictures, evenly picked; wrong ones in a red frame](${model}-sheet.png)
`;
}
