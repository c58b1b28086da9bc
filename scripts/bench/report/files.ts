/** Which command made which file: who wants to replace a measurement has to know what else the file holds. */
import type { BenchDocument } from '../../../lib/cli/bench/schema.js';
import type { NamedDocument } from './machines.js';
import { join, link } from './markdown.js';

export function filesSection(documents: readonly NamedDocument[]): string {
  return join(
    '### The files',
    documents
      .map(({ file, document }) => `- ${link(file, file)}: ${madeBy(document)}${interrupted(document)}`)
      .join('\n'),
  );
}

function madeBy({ command, rows }: BenchDocument): string {
  if (command !== undefined) return `the whole file by \`${command}\`.`;
  const count = new Set(rows.map((row) => row.command)).size;
  return count === 1
    ? 'the whole file by the command under its tables, with `--output`.'
    : `its rows by ${count} commands, those under its tables; a command for the whole file was not recorded.`;
}

function interrupted({ complete }: BenchDocument): string {
  return complete === false ? ' **The run was interrupted**: these are the rows until then.' : '';
}
