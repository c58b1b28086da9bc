/** The same captions with one option of the sampler in several values. */

import type { GenerateOptions } from '../../../lib/index.js';
import type { Sweep } from '../chart.js';
import { drawAll } from '../draw.js';
import { type Expectation, spread } from '../expectation.js';
import { type SectionReport, shareText } from '../report.js';
import { markdownTable, shareOf } from '../summary.js';
import { ofCombinations, type Section, type SectionInput } from './section.js';

/** Captions for each value. */
const CAPTIONS = 200;
const STEPS = [4, 6, 8, 12, 24];
const GUIDANCE = [1, 1.5, 2, 3, 5];

export function captionsOf({ expectations, count }: SectionInput, most = CAPTIONS): Expectation[] {
  return spread(ofCombinations(expectations), Math.min(count ?? most, most));
}

async function sweep(
  input: SectionInput,
  section: string,
  values: readonly number[],
  optionsOf: (value: number) => GenerateOptions,
): Promise<Sweep> {
  const captions = captionsOf(input);
  const result: Sweep = [];
  for (const value of values) {
    const drawn = await drawAll(input.painter, `${section}-${value}`, captions, optionsOf(value));
    result.push({ value, share: shareOf(drawn.map(({ judged }) => judged)) });
  }
  return result;
}

function report(title: string, what: string, results: Sweep, note: string): SectionReport {
  const rows = results.map(({ value, share }) => [String(value), String(share.pictures), shareText(share)]);
  const text = `${note}\n\n${markdownTable([[what, 'pictures', 'wholly right'], ...rows])}`;
  return { title, text, data: results.map(({ value, share }) => ({ value, ...share })) };
}

export const steps: Section = async (input) => {
  // Whatever share of the steps the model makes noise again follows from their number.
  const results = await sweep(input, 'steps', STEPS, (value) => ({ steps: value, renoiseSteps: undefined }));
  const note = 'The same captions and seeds with other numbers of steps; everything else as above.';
  return { report: report('Steps', 'steps', results, note), sweep: results };
};

export const guidance: Section = async (input) => {
  const results = await sweep(input, 'guidance', GUIDANCE, (value) => ({ guidanceScale: value }));
  const note = 'The same captions and seeds with a constant guidance; everything else as above. 1 is no guidance.';
  return { report: report('Guidance', 'guidance', results, note), sweep: results };
};
