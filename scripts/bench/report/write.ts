/**
 * `npm run bench:report`: writes README.md and the charts of docs/benchmarks/ from the JSON files in it, the part of the
 * project's README that has numbers, and that of docs/int8.md, from docs/int8-*.json. Charts that no longer have a measurement
 * go. `-- --folder <folder>` does it for other files than those of docs/benchmarks/, and leaves the rest alone.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { writeAtomically } from '../../../lib/images/files.js';
import { withEightBits } from './eight-bits.js';
import { withSpeed } from './readme.js';
import { readSources, reportOf } from './report.js';

const root = path.resolve(import.meta.dirname, '../../..');
const { values } = parseArgs({ options: { folder: { type: 'string' } } });
const folder = values.folder ?? path.join(root, 'docs/benchmarks');

const { markdown, charts, speed } = reportOf(readSources(folder));
for (const { file, svg } of charts) await writeAtomically(path.join(folder, file), svg);
for (const file of readdirSync(folder))
  if (file.endsWith('.svg') && !charts.some((chart) => chart.file === file)) rmSync(path.join(folder, file));
await writeAtomically(path.join(folder, 'README.md'), markdown);
if (values.folder === undefined) {
  const readme = path.join(root, 'README.md');
  await writeAtomically(readme, withSpeed(readFileSync(readme, 'utf8'), speed));
  const page = path.join(root, 'docs/int8.md');
  await writeAtomically(page, withEightBits(path.dirname(page), readFileSync(page, 'utf8')));
}
process.stderr.write(`written: README.md and ${charts.length} charts in ${folder}\n`);
