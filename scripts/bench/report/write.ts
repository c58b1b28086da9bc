/**
 * `npm run bench:report [-- --folder docs/benchmarks]`: writes README.md and the charts of that folder from its JSON files.
 * Charts that no longer have a measurement go.
 */
import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { writeAtomically } from '../../../lib/images/files.js';
import { readSources, reportOf } from './report.js';

const { values } = parseArgs({ options: { folder: { type: 'string', default: 'docs/benchmarks' } } });
const { folder } = values;

const { markdown, charts } = reportOf(readSources(folder));
for (const { file, svg } of charts) await writeAtomically(path.join(folder, file), svg);
for (const file of readdirSync(folder))
  if (file.endsWith('.svg') && !charts.some((chart) => chart.file === file)) rmSync(path.join(folder, file));
await writeAtomically(path.join(folder, 'README.md'), markdown);
process.stderr.write(`written: README.md and ${charts.length} charts in ${folder}\n`);
