/**
 * Options are described by zod schemas in which every field carries its expectation in words (`.describe()`).
 * A value that does not fit becomes one message of one form, for every option of the package:
 *
 *     width: expected a multiple of 16 between 16 and 2048, got 100
 */
import type { z } from 'zod';
import { PaellaError } from '../errors.js';
import { nearest } from './nearest.js';
import { show } from './show.js';

export function invalidOption(name: string, expected: string, got: unknown, remedy?: string): PaellaError {
  return new PaellaError('ERR_INVALID_OPTION', `${name}: expected ${expected}, got ${show(got)}`, { remedy });
}

/**
 * Checks `value` against a strict object schema.
 * @param what how the object is called in messages, e.g. 'options'
 */
export function validate<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  value: unknown,
  what: string,
): z.output<z.ZodObject<Shape>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalidOption(what, 'an object', value);
  const known = Object.keys(schema.shape);
  for (const name of Object.keys(value)) if (!known.includes(name)) throw unknownOption(name, known);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const name = String(result.error.issues[0]?.path[0] ?? what);
  const field = schema.shape[name] as z.ZodType | undefined;
  throw invalidOption(name, field?.description ?? 'something else', (value as Record<string, unknown>)[name]);
}

export function unknownOption(name: string, known: readonly string[]): PaellaError {
  const suggestion = nearest(name, known);
  return new PaellaError(
    'ERR_INVALID_OPTION',
    `${name}: unknown option${suggestion ? `, did you mean ${suggestion}?` : ''}`,
    {
      remedy: `known options: ${known.join(', ')}`,
    },
  );
}
