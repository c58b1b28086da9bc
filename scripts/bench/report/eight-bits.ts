/** The measured part of docs/int8.md, of what `npm run bench:int8` wrote into docs/int8-*.json. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { median } from '../../../lib/cli/bench/statistics.js';
import { figures, join, link, percent, shell, table, withBlock } from './markdown.js';

const seconds = z.array(z.number().positive()).min(1);
const about = {
  command: z.string(),
  environment: z.looseObject({ cpu: z.string(), cores: z.int(), time: z.string() }),
};
const part = <T extends z.ZodType>(results: T) => z.looseObject({ ...about, results });

export const eightBitsSchema = z.object({
  steps: part(
    z.object({
      model: z.string(),
      tokens: z.string(),
      seconds: z.object({ bf16: seconds, int8: seconds }),
      ratios: seconds,
      ratio: z.number(),
      weightBytes: z.object({ bf16: z.number(), int8: z.number() }),
    }),
  ),
  encoder: part(
    z.array(
      z.looseObject({
        model: z.string(),
        precision: z.string(),
        weights: z.enum(['full', 'int8']),
        tokens: z.int(),
        seconds: z.number(),
        share_of_onednn_rate: z.number(),
        weight_bytes: z.number(),
        median_cosine_to_fp32: z.number(),
      }),
    ),
  ),
  pictures: part(
    z.array(
      z.object({
        way: z.string(),
        captions: z.int(),
        changedTokens: z.number(),
        sameImages: z.number(),
        leastCosineOfStates: z.number(),
        whollyRight: z.number(),
      }),
    ),
  ),
  memory: part(
    z.array(
      z.looseObject({
        model: z.string(),
        width: z.int(),
        height: z.int(),
        memory: z.enum(['resident', 'low']),
        encoderWeights: z.enum(['full', 'int8']),
        peakRssBytes: z.number(),
      }),
    ),
  ),
});
export type EightBits = z.output<typeof eightBitsSchema>;

/** @param text of int8.md. @param folder that it lies in, with the documents, one for each machine */
export function withEightBits(folder: string, text: string): string {
  const files = readdirSync(folder).filter((name) => /^int8-.*\.json$/.test(name));
  if (files.length === 0) throw new Error(`${folder}: expected int8-*.json of bench:int8, found none`);
  const blocks = files.toSorted().map((file) => eightBits(file, readEightBits(path.join(folder, file))));
  return withBlock('int8.md', 'measured', text, join(...blocks));
}

function readEightBits(file: string): EightBits {
  const parsed = eightBitsSchema.safeParse(JSON.parse(readFileSync(file, 'utf8')));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(`${file}: expected a document of bench:int8, got ${issue?.path.join('.')}: ${issue?.message}`);
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
const tenths = (share: number) => `${(share * 100).toFixed(1)} %`;

/** @param file of the document, beside docs/int8.md */
export function eightBits(file: string, { steps, encoder, pictures, memory }: EightBits): string {
  const { environment } = steps;
  const days = [steps, encoder, pictures, memory].map(({ environment: { time } }) => time.slice(0, 10));
  return join(
    `From ${link(file, file)}: ${environment.cpu}, ${environment.cores} cores, ${[...new Set(days)].toSorted().join(', ')}. ` +
      '`npm run bench:report` writes this part.',
    '### Time',
    ...time(steps.results, encoder.results),
    '### Memory',
    ...memoryOf(steps.results, encoder.results, memory.results),
    '### What it changes',
    changes(pictures.results),
    shell([steps, encoder, pictures, memory].map(({ command }) => command)),
  );
}

function time(steps: EightBits['steps']['results'], encoder: EightBits['encoder']['results']): string[] {
  const [full, narrow] = [weights(encoder, 'full'), weights(encoder, 'int8')];
  const rows = [
    {
      what: `a guided step of \`${steps.model}\`, ${steps.tokens.replace('x', '×')} tokens`,
      option: "`precision: 'int8'`",
      full: median(steps.seconds.bf16),
      narrow: median(steps.seconds.int8),
      ratio: steps.ratio,
    },
    {
      what: `${full.model} weights, ${full.tokens} bytes`,
      option: "`encoderWeights: 'int8'`",
      full: full.seconds,
      narrow: narrow.seconds,
      ratio: full.seconds / narrow.seconds,
    },
  ];
  const ratios = steps.ratios.toSorted((a, b) => a - b).map((each) => each.toFixed(2));
  return [
    table(rows, [
      { head: 'what', cell: ({ what }) => what },
      { head: 'option', cell: ({ option }) => option },
      { head: 'bf16, s', cell: (row) => figures(row.full), right: true },
      { head: '8 bits, s', cell: (row) => figures(row.narrow), right: true },
      { head: 'times as fast', cell: ({ ratio }) => ratio.toFixed(2), right: true },
    ]),
    `The steps were taken in turns: of ${ratios.length} pairs the ratios are ${ratios.join(', ')}, and the table has their median. ` +
      `The text encoder reaches ${percent(full.share_of_onednn_rate)} of oneDNN's own rate in bf16 with full weights and ` +
      `${percent(narrow.share_of_onednn_rate)} with weights of 8 bits, which have to be widened first.`,
  ];
}

function memoryOf(
  steps: EightBits['steps']['results'],
  encoder: EightBits['encoder']['results'],
  memory: EightBits['memory']['results'],
): string[] {
  const [first] = memory;
  const peak = (mode: 'resident' | 'low', kind: 'full' | 'int8') => {
    const row = memory.find((each) => each.memory === mode && each.encoderWeights === kind);
    if (!row) throw new Error(`memory: expected a row of ${mode}, ${kind}, found none`);
    return gigabytes(row.peakRssBytes);
  };
  return [
    `The whole pipeline (\`${first?.model}\`: ByT5-XL, CLIP, prior, U-Net, VQGAN) drawing ${first?.width}×${first?.height} px in bf16 ` +
      'on the CPU: the highest resident memory of the Node.js process, from its start.',
    table(['resident', 'low'] as const, [
      { head: '`memory`', cell: (mode) => `\`'${mode}'\`` },
      { head: 'full weights', cell: (mode) => peak(mode, 'full'), right: true },
      { head: "`encoderWeights: 'int8'`", cell: (mode) => peak(mode, 'int8'), right: true },
    ]),
    `ByT5-XL's weights: ${gigabytes(weights(encoder, 'full').weight_bytes)} and ${gigabytes(weights(encoder, 'int8').weight_bytes)}; ` +
      `the U-Net's, with VQGAN and a small text encoder: ${gigabytes(steps.weightBytes.bf16)} and ${gigabytes(steps.weightBytes.int8)}.`,
  ];
}

function changes(pictures: EightBits['pictures']['results']): string {
  return join(
    `The bundled model on ${pictures[0]?.captions} held-out captions, the same seeds in each way, beside bf16:`,
    table(pictures, [
      { head: 'way', cell: ({ way }) => way },
      { head: 'tokens that are others', cell: ({ changedTokens }) => tenths(changedTokens), right: true },
      { head: 'same images', cell: ({ sameImages }) => percent(sameImages), right: true },
      {
        head: "cosine of the text encoder's states, least",
        cell: ({ leastCosineOfStates }) => leastCosineOfStates.toFixed(4),
        right: true,
      },
      {
        head: "wholly right by `npm run evaluate`'s judge",
        cell: ({ whollyRight }) => tenths(whollyRight),
        right: true,
      },
    ]),
  );
}

function weights(encoder: EightBits['encoder']['results'], kind: 'full' | 'int8') {
  const row = encoder.find((each) => each.weights === kind);
  if (!row) throw new Error(`encoder: expected a row of ${kind} weights, found none`);
  return row;
}
