/** The report of docs/benchmarks/: one page and its charts, made of the JSON files in that folder and of nothing else. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { z } from 'zod';
import { parseDocument } from '../../../lib/cli/bench/documents.js';
import type { BenchDocument } from '../../../lib/cli/bench/schema.js';
import { summarize } from '../../../lib/cli/bench/statistics.js';
import { type Chart, chartsOf } from './charts.js';
import { conversion, conversionSchema } from './conversion.js';
import { filesSection } from './files.js';
import { machineSection } from './machine-section.js';
import { machinesOf, type NamedDocument } from './machines.js';
import { join } from './markdown.js';
import { speedOf } from './readme.js';
import { again, answers, claims, cost, head, notMeasured, predictions } from './text.js';

export interface Sources {
  documents: NamedDocument[];
  conversions: { file: string; document: z.output<typeof conversionSchema> }[];
}

export interface Report {
  markdown: string;
  charts: Chart[];
  /** For the README of the project. */
  speed: string;
}

/** Throws where a file is none of the kinds that are known: a page that silently leaves out a measurement is wrong. */
export function readSources(folder: string): Sources {
  const sources: Sources = { documents: [], conversions: [] };
  for (const file of readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .toSorted()) {
    const text = readFileSync(path.join(folder, file), 'utf8');
    const kind = JSON.parse(text) as { benchmark?: string };
    if (kind.benchmark === 'convert') sources.conversions.push({ file, document: conversionSchema.parse(kind) });
    else sources.documents.push({ file, document: checked(parseDocument(text, path.join(folder, file)), file) });
  }
  return sources;
}

/** Summaries and samples of versions before are rounded apart. */
const rounding = 0.0011;

/** The page shows summaries, and ratios of samples. Throws where a summary is not that of its samples. */
function checked(document: BenchDocument, file: string): BenchDocument {
  for (const [i, { ms, samples }] of document.rows.entries()) {
    const own = summarize(samples);
    for (const name of ['p50', 'mean'] as const)
      if (Math.abs(own[name] - ms[name]) > rounding)
        throw new Error(
          `${file}: rows.${i}.ms.${name}: expected ${own[name]}, as its samples have it, got ${ms[name]}`,
        );
  }
  return document;
}

export function reportOf({ documents, conversions }: Sources): Report {
  const machines = machinesOf(documents);
  const charts = machines.map(chartsOf);
  const files = [...documents, ...conversions].map(({ file }) => file).toSorted();
  const markdown = join(
    head(
      files,
      conversions.map(({ file }) => file),
    ),
    claims(),
    answers(machines),
    ...machines.map((machine, i) => machineSection(machine, charts[i] ?? [])),
    cost(machines),
    predictions(machines),
    conversion(conversions),
    notMeasured,
    again,
    filesSection(documents),
  );
  const speed = speedOf(machines, charts.flat(), 'docs/benchmarks');
  return { markdown: `${markdown}\n`, charts: charts.flat(), speed };
}
