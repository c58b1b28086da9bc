/** Documents of benchmarks, in files: read, checked, written. */
import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { ioError, PaellaError } from '../../errors.js';
import { type BenchDocument, documentSchema, lineSchema, rowSchema, schemaName } from './schema.js';

/** Reads a JSON document, or JSON lines. Throws `ERR_IO`, and `ERR_INVALID_OPTION` for what is no such document. */
export async function readDocument(file: string): Promise<BenchDocument> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw ioError('read', file, error);
  }
  return parseDocument(text, file);
}

export function parseDocument(text: string, file: string): BenchDocument {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return parseLines(text, file);
  }
  // A single line of JSON lines is a JSON document as well.
  if (typeof parsed === 'object' && parsed !== null && 'scenario' in parsed) return parseLines(text, file);
  checkVersion(parsed, file);
  return check(documentSchema, parsed, file);
}

function parseLines(text: string, file: string): BenchDocument {
  const document: Partial<BenchDocument> & Pick<BenchDocument, 'rows'> = { rows: [] };
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const where = `${file}, line ${i + 1}`;
    let parsed: unknown;
    try {
      parsed = JSON.parse(line);
    } catch {
      throw notOurs(where, 'a document of `paella bench` in JSON or JSON lines', 'something that is not JSON');
    }
    checkVersion(parsed, where);
    const { schema, environment, complete, ...row } = check(lineSchema, parsed, where);
    if (complete === false) document.complete = false;
    document.schema = schema;
    document.environment ??= environment;
    document.rows.push(check(rowSchema, row, where));
  }
  const { schema, environment, rows, complete } = document;
  if (!schema || !environment) throw notOurs(file, 'a document of `paella bench`', 'an empty file');
  return { schema, environment, rows, ...(complete === undefined ? {} : { complete }) };
}

function checkVersion(parsed: unknown, where: string): void {
  const found = (parsed as { schema?: unknown } | null)?.schema;
  if (found === schemaName) return;
  const other = typeof found === 'string' && found.startsWith('paella-bench/');
  throw notOurs(
    where,
    `the schema ${schemaName}`,
    found === undefined ? 'a document that names none' : JSON.stringify(found),
    other ? 'measure again, or compare with the version of paella-native that wrote it' : undefined,
  );
}

function check<T extends z.ZodType>(schema: T, value: unknown, where: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw notOurs(where, `a document of the schema ${schemaName}`, `${issue?.path.join('.') ?? ''}: ${issue?.message}`);
}

function notOurs(where: string, expected: string, got: string, remedy?: string): PaellaError {
  return new PaellaError('ERR_INVALID_OPTION', `${where}: expected ${expected}, got ${got}`, { remedy });
}
