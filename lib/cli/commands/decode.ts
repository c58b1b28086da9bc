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

export async function run(args: Arguments, { signal, json }: Context): Promise<undefined> {
  const file = String(args.tokens);
  const plan = new OutputPlan(args.output, args.format);
  const grid = await readGrid(file);
  const engine = await loadEngine({ ...loadValues(args), signal });
  try {
    const image = await engine.decodeTokens(grid);
    signal.throwIfAborted();
    const name = file === '-' ? 'tokens' : path.parse(file).name;
    const output = plan.pathFor({ prompt: `${name} decoded`, seed: 0, count: 1 });
    await image.save(output, pick(args, ['metadata', 'quality']) as EncodeOptions);
    if (json) printJson({ file: output, width: image.width, height: image.height });
    else print(`${output}  ${image.width}×${image.height}`);
  } finally {
    await engine.dispose({ abort: true });
  }
}

async function readGrid(file: string): Promise<TokenGrid> {
  let content: string;
  try {
    content = file === '-' ? await readAll(process.stdin) : await readFile(file, 'utf8');
  } catch (error) {
    throw ioError('read', file, error);
  }
  const expected = 'JSON of the form { "width": …, "height": …, "tokens": [width × height integers] }';
  const wrong = (found: string, cause?: unknown) =>
    new PaellaError('ERR_IO', `${file}: expected ${expected}, got ${found}`, { cause });
  let parsed: { width?: unknown; height?: unknown; tokens?: unknown } | null;
  try {
    parsed = JSON.parse(content);
  } catch (error) {
    throw wrong('something that is not JSON', error);
  }
  const { width, height, tokens } = parsed ?? {};
  if (
    !Array.isArray(tokens) ||
    !tokens.every((token) => Number.isInteger(token)) ||
    typeof width !== 'number' ||
    typeof height !== 'number'
  ) {
    throw wrong('another document');
  }
  if (width * height !== tokens.length) throw wrong(`${tokens.length} tokens for ${width} × ${height}`);
  return { width, height, tokens: Int32Array.from(tokens as number[]) };
}
