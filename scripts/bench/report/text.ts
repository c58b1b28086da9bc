/** What the report says before and after the machines: the claim, the questions, the cost, what is not measured. */
import type { BenchRow } from '../../../lib/cli/bench/schema.js';
import { type Anchor, claim, others, type Question, questions } from './anchors.js';
import { imageMs, isImage, type Machine, medianMs, subjectOf, usualRows } from './machines.js';
import { type Column, duration, figures, join, link, table } from './markdown.js';

/** @param conversions those of the files that `npm run bench:convert` made */
export function head(files: readonly string[], conversions: readonly string[]): string {
  return join(
    '# Benchmarks',
    '`npm run bench:report` writes this page and its charts from the JSON files beside it: ' +
      `${files.map((file) => link(file, file)).join(', ')}. Nobody types a measurement in. The commands under a table give its rows ` +
      'anew, `paella bench` each its own row on standard output or with `--output` in a file of yours, `paella_bench` as lines ' +
      'that `npm run bench -- --only steps,operations` makes rows of. Most files hold the rows of several commands, so that none ' +
      'of them may write over the file: [which command makes which](#the-files).',
    'The files have the [schema](../../lib/cli/bench/schema.json) of `paella bench`' +
      (conversions.length === 0
        ? ''
        : ` (but ${conversions.map((file) => link(file, file)).join(', ')}, of \`npm run bench:convert\`)`) +
      ', and their rows say which program, version, commit, weights and options, and hold every sample.',
    [
      '- **measured**: the whole call was run, and the number is the median of the runs. Text encoding and the decoder to',
      '  pixels count for everybody; the encoding of a file, loading and the first run do not. Every run has a prompt of its',
      '  own, so that no cache of encoded prompts helps (the empty negative prompt stays remembered where a program does that).',
      '- **composed**: fewer steps were run, and the row is so many times their median, and what the same run took beyond',
      '  them. The row in the file says how.',
      '- **predicted**: arithmetic. **missing**: nobody has measured it.',
      '- **random weights**: the published configuration with random numbers. Speed and memory are the same; the pictures are',
      '  noise.',
      '- Rows of one table that ran **in turns** (A B A B, everything loaded) share the moods of the machine: compare these.',
      '  Absolute times move with what else the machine does.',
    ].join('\n'),
  );
}

export function claims(): string {
  return join(
    '## The claim, and its critics',
    'Paella was announced with a comparison: 0.5 s an image against 3.2 s of Stable Diffusion. The answer was that a compiled ' +
      'Stable Diffusion with a newer scheduler is as fast. **None of these numbers was measured by this project**; they are ' +
      'cited, and differ in pixels, steps and software.',
    table(claim, anchorColumns),
    'Published since, by others:',
    table(others, anchorColumns),
  );
}

const anchorColumns: Column<Anchor>[] = [
  { head: 'what', cell: ({ what }) => what },
  { head: 'px', cell: ({ pixels }) => pixels, right: true },
  { head: 'steps', cell: ({ steps }) => steps, right: true },
  { head: 'GPU', cell: ({ gpu }) => gpu },
  { head: 'batch', cell: ({ batch }) => String(batch), right: true },
  { head: 'ms an image', cell: ({ ms }) => ms, right: true },
  { head: 'source', cell: ({ source }) => link(source.name, source.url) },
];

/** What of it was measured, and where. */
export function answers(machines: readonly Machine[]): string {
  const places = machines.some(({ gpu }) => gpu) ? machines : [...machines, undefined];
  const columns: Column<Question>[] = [
    { head: 'what', cell: ({ what }) => what },
    { head: 'px', cell: ({ pixels }) => String(pixels), right: true },
    { head: 'steps', cell: ({ steps }) => String(steps), right: true },
    { head: 'way', cell: ({ compiled }) => (compiled === undefined ? '' : compiled ? '`torch.compile`' : 'eager') },
    ...places.map(
      (machine): Column<Question> => ({
        head: machine?.name ?? 'any GPU',
        cell: (question) => answer(question, machine?.rows ?? []),
        right: true,
      }),
    ),
  ];
  return join(
    '## What this project has measured of it',
    'Time of one image, batch 1, the shortest that was measured on that machine in 16-bit precision.',
    table(questions, columns),
    machines.some(({ gpu }) => gpu)
      ? undefined
      : 'No GPU was at hand for any of these files. What is known of the CUDA engine is in [gpu-status.md](../gpu-status.md).',
  );
}

function answer(question: Question, rows: readonly BenchRow[]): string {
  const fits = rows.filter(
    (row) =>
      isImage(row) &&
      row.subject === question.subject &&
      question.models.includes(row.model) &&
      row.width === question.pixels &&
      row.height === question.pixels &&
      row.steps === question.steps &&
      row.batch === 1 &&
      (row.precision === 'bf16' || row.precision === 'fp16') &&
      (question.compiled === undefined || question.compiled === (row.compile !== null && row.compile !== 'eager')),
  );
  const [best] = fits.toSorted((a, b) => imageMs(a) - imageMs(b));
  if (!best) return '**missing**';
  return `${duration(imageMs(best))}${best.evidence === 'composed' ? ' (composed)' : ''}`;
}

/** Of an hour of the machine, in the example. */
const examplePrice = 0.1;

export function cost(machines: readonly Machine[]): string {
  const rows = machines.flatMap((machine) => cheapest(machine).map((row) => ({ machine, row })));
  if (rows.length === 0) return '';
  const [example] = rows;
  const ms = example ? imageMs(example.row) : 0;
  return join(
    '## What a thousand images cost',
    'With *p* the price of an hour of your machine and *t* the milliseconds of an image:',
    '> cost of 1,000 images = *p* × *t* / 3,600',
    `For example, ${duration(ms)} an image at ${examplePrice} an hour: ${examplePrice} × ${figures(ms)} / 3,600 = ` +
      `${figures((examplePrice * ms) / 3600)} for a thousand. The price is an example, put in your own; the times are the ` +
      'shortest per image among the whole images of this page, whatever the batch.',
    table(rows, [
      { head: 'machine', cell: ({ machine }) => machine.name },
      { head: 'program', cell: ({ row }) => subjectOf(row) },
      { head: 'model', cell: ({ row }) => row.model },
      { head: 'px', cell: ({ row }) => `${row.width}`, right: true },
      { head: 'steps', cell: ({ row }) => `${row.steps}`, right: true },
      { head: 'batch', cell: ({ row }) => `${row.batch}`, right: true },
      { head: '*t* ms', cell: ({ row }) => imageMs(row).toFixed(imageMs(row) < 100 ? 1 : 0), right: true },
      {
        head: 'hours for 1,000',
        cell: ({ row }) => (imageMs(row) / 3600).toFixed(imageMs(row) < 360 ? 4 : 2),
        right: true,
      },
      {
        head: `at ${examplePrice} an hour`,
        cell: ({ row }) => ((examplePrice * imageMs(row)) / 3600).toFixed(4),
        right: true,
      },
      { head: 'evidence', cell: ({ row }) => row.evidence },
    ]),
  );
}

/** The shortest time of an image of each program, model, size and number of steps. */
function cheapest({ rows }: Machine): BenchRow[] {
  const best = new Map<string, BenchRow>();
  const images = rows.filter((row) => isImage(row) && (row.axis === undefined || row.axis === 'batch'));
  for (const row of usualRows(images)) {
    const key = [row.subject, row.model, row.width, row.height, row.steps].join(' ');
    const known = best.get(key);
    if (!known || imageMs(row) < imageMs(known)) best.set(key, row);
  }
  return [...best.values()];
}

export function predictions(machines: readonly Machine[]): string {
  const rows = machines.flatMap((machine) =>
    machine.rows.filter(({ evidence }) => evidence === 'predicted').map((row) => ({ machine, row })),
  );
  const elsewhere = 'Arithmetic for an H200 stands in [gpu-status.md](../gpu-status.md), and in none of these tables.';
  if (rows.length === 0) return join('## Predictions', `No row of this page is a prediction. ${elsewhere}`);
  return join(
    '## Predictions',
    `Not measured, and in no other table. ${elsewhere}`,
    table(rows, [
      { head: 'machine', cell: ({ machine }) => machine.name },
      { head: 'program', cell: ({ row }) => row.subject },
      { head: 'model', cell: ({ row }) => row.model },
      { head: 'ms', cell: ({ row }) => figures(medianMs(row)), right: true },
      { head: 'from', cell: ({ row }) => row.explanation ?? '' },
    ]),
  );
}

export const notMeasured = join(
  '## What is not measured',
  [
    '- **Quality.** A faster image is no argument if it is a worse one. Models, steps and guidance differ between the rows, and',
    '  with random weights nothing can be seen. What the bundled model draws is judged in [its evaluation](../models/tiny-evaluation.md);',
    '  there is no such judgement of the official weights here.',
    '- **Equal work.** Rows of different models do different work: 8 steps of Paella and 20 of Stable Diffusion are what their',
    '  authors and users choose, not the same thing done twice. The column *a step* lets you count with other numbers.',
    '- Power, and the price of a machine that stands idle.',
    '- Loading, unless a table says so; downloads.',
    '- Safety checkers, upscalers, and the encoding of files.',
  ].join('\n'),
);

export const again = join(
  '## Measure it yourself',
  'Under each table stands its command. In a clone, `paella` is `npm start --`, and `paella_bench` is ' +
    '`build/test/native/paella_bench`, which `npm test` builds. `npm run bench` measures this package; for the others:',
  [
    '```sh',
    'pip install -r scripts/bench/peers/requirements.txt',
    'python scripts/bench/peers/diffusers_peer.py --help              # also stable_diffusion_cpp_peer.py, pytorch_paella_peer.py',
    'npm run bench:peers -- --rounds 3 --output docs/benchmarks/mine.json \\',
    "  --subject 'node --import tsx scripts/bench/peers/paella-native-peer.ts --model random:paella-v3-256 --size 256 --steps 8' \\",
    "  --subject 'python scripts/bench/peers/diffusers_peer.py --model sd15 --random-weights --size 256 --steps 20'",
    'npm run bench:report',
    '```',
  ].join('\n'),
  'A document of any of these commands that is put into this folder appears on this page, under the machine that it names. On a ' +
    'GPU the peers take `--device cuda` and `--compile eager,max-autotune`, and ours `--backend cuda`; this has never been tried.',
);
