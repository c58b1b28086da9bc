/** Rows of a benchmark as Markdown, JSON, JSON lines or CSV. */

export type ReportFormat = 'md' | 'json' | 'jsonl' | 'csv';

export function report(rows: readonly object[], format: ReportFormat): string {
  if (format === 'json') return JSON.stringify(rows, null, 2);
  if (format === 'jsonl') return rows.map((row) => JSON.stringify(row)).join('\n');
  const flat = rows.map((row) => flatten(row));
  return format === 'csv' ? csv(flat) : markdown(flat);
}

/** { ms: { p50: 1 } } → { 'ms.p50': 1 } */
function flatten(row: object, prefix = '', out: Record<string, string> = {}): Record<string, string> {
  for (const [key, value] of Object.entries(row)) {
    const name = `${prefix}${key}`;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) flatten(value, `${name}.`, out);
    else out[name] = Array.isArray(value) ? value.join(' to ') : String(value);
  }
  return out;
}

function columnsOf(rows: readonly Record<string, string>[]): string[] {
  return [...new Set(rows.flatMap((row) => Object.keys(row)))];
}

function csv(rows: readonly Record<string, string>[]): string {
  const columns = columnsOf(rows);
  const cell = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return [columns, ...rows.map((row) => columns.map((column) => row[column] ?? ''))]
    .map((row) => row.map(cell).join(','))
    .join('\n');
}

/** What is equal in all rows stands once, above the table of what differs. */
function markdown(rows: readonly Record<string, string>[]): string {
  const columns = columnsOf(rows);
  const shared =
    rows.length > 1 ? columns.filter((column) => rows.every((row) => row[column] === rows[0]?.[column])) : [];
  const first = rows[0] ?? {};
  const head =
    rows.length > 1
      ? shared
      : ['version', 'commit', 'time', 'cpu', 'cores', 'memoryGiB', 'os', 'node'].filter((column) => column in first);
  const differing = columns.filter((column) => !head.includes(column));
  const lines = head.map((column) => `- ${column}: ${first[column]}`);
  if (rows.length === 1)
    return [...lines, '', '| | |', '|---|---:|', ...differing.map((column) => `| ${column} | ${first[column]} |`)].join(
      '\n',
    );
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    ...lines,
    '',
    row(differing),
    row(differing.map(() => '---:')),
    ...rows.map((each) => row(differing.map((column) => each[column] ?? ''))),
  ].join('\n');
}
