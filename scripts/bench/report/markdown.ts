/** Tables and numbers of the report. */

export interface Column<T> {
  head: string;
  cell: (row: T) => string;
  /** Numbers stand to the right. */
  right?: boolean;
}

/** A column in which every cell is empty is left out. */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
  const cells = rows.map((row) => columns.map(({ cell }) => escaped(cell(row))));
  const shown = columns.map((_, i) => i).filter((i) => cells.some((row) => row[i] !== ''));
  const line = (texts: readonly string[]) => `| ${shown.map((i) => texts[i]).join(' | ')} |`;
  return [
    line(columns.map(({ head }) => head)),
    line(columns.map(({ right }) => (right ? '---:' : '---'))),
    ...cells.map(line),
  ].join('\n');
}

/** Names of models and programs are free text. */
function escaped(cell: string): string {
  return cell.replaceAll('|', String.raw`\|`).replaceAll('<', '&lt;');
}

export function link(text: string, url: string): string {
  return `[${text}](${url})`;
}

/** A command that may have blanks and quotes, wrapped where a subject begins. */
export function shell(commands: readonly string[]): string {
  const unique = [...new Set(commands)];
  return ['```sh', ...unique.map((command) => command.replaceAll(' --subject ', ' \\\n  --subject ')), '```'].join(
    '\n',
  );
}

/** Milliseconds with three figures, as seconds from 10 s on. */
export function duration(ms: number): string {
  return ms >= 10_000 ? `${figures(ms / 1000)} s` : `${figures(ms)} ms`;
}

/** Three figures, never with an exponent. */
export function figures(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

/** Paragraphs and tables with a line between them; what is empty is left out. */
export function join(...parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join('\n\n');
}

/** `text` of a page with `block` between its marks for `name`. Throws where it has none. */
export function withBlock(file: string, name: string, text: string, block: string): string {
  const [begin, end] = [`<!-- ${name}: written by npm run bench:report -->`, `<!-- /${name} -->`];
  const [start, stop] = [text.indexOf(begin), text.indexOf(end)];
  if (start < 0 || stop < start) throw new Error(`${file}: expected ${begin} and after it ${end}, found none`);
  return `${text.slice(0, start)}${begin}\n\n${block}\n\n${text.slice(stop)}`;
}
