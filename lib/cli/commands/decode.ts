/** paella decode <tokens.json> */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import type { TokenGrid } from '../../engine/types.js';
import { ioError, PaellaError } from '../../errors.js';
import type { EncodeOptions } from '../../images/generated-image.js';
import { OutputPlan } from '../output.js';
import { loadEngine } from '../progress.js';
import { type Arguments, type Context, print, printJson } from '../run.js';
import { loadValues, pick } from '../values.js';

/** Ids of 32 bits with a sign; a model has far fewer. */
const MOST_TOKENS = 2 ** 31;

export async function run(args: Arguments, { signal, json }: Context): Promise<undefined> {
  const file = String(args.tokens);
  const plan = new OutputPlan(args.output, args.format);
  const encode = pick(args, ['metadata', 'quality']) as EncodeOptions;
  await plan.check(encode);
  const { grid, model } = await readGrid(file);
  const engine = await loadEngine({ ...loadValues(args), signal });
  try {
    if (model !== undefined && model !== engine.model.name)
      process.stderr.write(`paella: ${file}: tokens of the model ${model}, decoded by ${engine.model.name}\n`);
    const { vocabularySize } = engine.model;
    const at = grid.tokens.findIndex((token) => token >= vocabularySize);
    if (at >= 0) throw wrongToken(file, at, vocabularySize, grid.tokens[at]);
    const image = await engine.decodeTokens(grid);
    signal.throwIfAborted();
    const name = file === '-' ? 'tokens' : path.parse(file).name;
    const output = plan.pathFor({ prompt: `${name} decoded`, seed: 0, count: 1 });
    await image.save(output, encode);
    if (json) printJson({ file: output, width: image.width, height: image.height });
    else print(`${output}  ${image.width}×${image.height}`);
  } finally {
    await engine.dispose({ abort: true });
  }
}

function wrongToken(file: string, at: number, below: number, got: unknown): PaellaError {
  const expected = `an integer from 0 to ${below - 1}`;
  return new PaellaError('ERR_IO', `${file}: tokens[${at}]: expected ${expected}, got ${JSON.stringify(got)}`);
}

/** The grid, and the model that made it, if the file names one. */
async function readGrid(file: string): Promise<{ grid: TokenGrid; model: string | undefined }> {
  let content: string;
  try {
    content = file === '-' ? await readAll(process.stdin) : await readFile(file, 'utf8');
  } catch (error) {
    throw ioError('read', file, error);
  }
  const expected = 'JSON of the form { "width": …, "height": …, "tokens": [width × height integers] }';
  const wrong = (found: string, cause?: unknown) =>
    new PaellaError('ERR_IO', `${file}: expected ${expected}, got ${found}`, { cause });
  let parsed: { width?: unknown; height?: unknown; tokens?: unknown; model?: unknown } | null;
  try {
    parsed = JSON.parse(content);
  } catch (error) {
    throw wrong('something that is not JSON', error);
  }
  const { width, height, tokens, model } = parsed ?? {};
  if (!Array.isArray(tokens) || typeof width !== 'number' || typeof height !== 'number')
    throw wrong('another document');
  const at = tokens.findIndex((token) => !Number.isInteger(token) || token < 0 || token >= MOST_TOKENS);
  if (at >= 0) throw wrongToken(file, at, MOST_TOKENS, tokens[at]);
  if (width * height !== tokens.length) throw wrong(`${tokens.length} tokens for ${width} × ${height}`);
  const grid = { width, height, tokens: Int32Array.from(tokens as number[]) };
  return { grid, model: typeof model === 'string' ? model : undefined };
}
