/** What the tests of the public interface share. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { type GeneratedImage, type LoadOptions, Paella } from '../../../lib/index.js';

export const root = path.resolve(import.meta.dirname, '..', '..', '..');

/** The model that behaviour is tested with; another one can be named to try the tests on it. */
export const testModel = process.env.PAELLA_TEST_MODEL ?? 'tiny';

/** An engine that is disposed of, whatever runs, when the test ends. */
export async function engineFor(t: Test, options: LoadOptions = {}): Promise<Paella> {
  const engine = await Paella.load({ model: testModel, backend: 'cpu', ...options });
  t.teardown(() => engine.dispose({ abort: true }));
  return engine;
}

/** Removed when the test ends. */
export function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'paella-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The rejection of a promise; fails the test when there is none. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string; remedy?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection, but the promise was fulfilled');
}

export async function rejectsWith(t: Test, promise: Promise<unknown>, code: string, message?: string | RegExp) {
  const error = await rejection(promise);
  const text = typeof message === 'string' ? message : String(message ?? '');
  t.equal(error.code, code, `${code} ${text}`.trim());
  if (typeof message === 'string') t.equal(error.message, message);
  else if (message) t.match(error.message, message);
  return error;
}

export const tokensOf = (image: GeneratedImage | undefined): number[] => Array.from(image?.tokens.tokens ?? []);

/** Long enough to be met in the middle, on any machine. */
export const longJob = { prompt: 'a red circle', steps: 1000 } as const;

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Equal arrays; unlike t.same it does not print a difference, which takes minutes for large ones. */
export function sameNumbers(
  t: Test,
  found: ArrayLike<number> | undefined,
  wanted: ArrayLike<number> | undefined,
  message: string,
): void {
  const [a, b] = [Array.from(found ?? []), Array.from(wanted ?? [])];
  const at = a.findIndex((value, i) => !Object.is(value, b[i]));
  const where =
    at < 0 ? `lengths ${a.length} and ${b.length}` : `first difference at ${at}: ${a[at]} instead of ${b[at]}`;
  t.ok(found !== undefined && a.length === b.length && at < 0, `${message} (${where})`);
}
