/** paella convert <checkpoints…> -o <folder> */
import path from 'node:path';
import { type ConvertOptions, type ConvertReport, convert } from '../../convert/convert.js';
import { invalidOption } from '../../options/validate.js';
import { checkOutput } from '../output.js';
import { Progress } from '../progress.js';
import { type Arguments, type Context, print, printJson } from '../run.js';
import { bytes, millions, table } from '../text.js';

export async function run(args: Arguments, { signal, json }: Context): Promise<undefined> {
  const output = checkOutput(args.output);
  if (output === undefined) throw invalidOption('output', 'a folder to write', undefined);
  const progress = new Progress();
  try {
    const report = await convert((args.checkpoints as unknown[]).map(String), {
      output,
      ...(args.precision === undefined ? {} : { precision: precisionOf(args.precision) }),
      ...(args.name === undefined ? {} : { name: String(args.name) }),
      overwrite: args.force === true,
      incomplete: args.incomplete === true,
      signal,
      onProgress: ({ phase, loaded, total }) => progress.bar(`converting ${phase}`, loaded, total),
    });
    progress.clear();
    if (json) printJson(report);
    else show(report);
  } catch (error) {
    progress.clear();
    if (signal.aborted) process.stderr.write('paella: the same command goes on where this one stopped\n');
    throw error;
  } finally {
    progress.clear();
  }
}

/** 'bf16', or 'unet=bf16,vqgan=fp32'; the library's check names what it does not know. */
function precisionOf(text: unknown): ConvertOptions['precision'] {
  if (typeof text !== 'string' || !text.includes('=')) return text as ConvertOptions['precision'];
  const pairs = text.split(',').map((pair) => pair.split('=', 2) as [string, string]);
  return Object.fromEntries(pairs) as ConvertOptions['precision'];
}

function show(report: ConvertReport): void {
  const { folder, components, missing, recognised, skipped, warnings, resumed } = report;
  print(
    table([
      ['network', 'parameters', 'weights', 'precision', 'from'],
      ...components.map(({ name, parameters, bytes: size, precision, layout, sources, wrappers }) => [
        name,
        millions(parameters),
        bytes(size),
        precision,
        [...sources.map((file) => path.basename(file)), `(${[layout, ...wrappers].join(', ')})`].join(' '),
      ]),
    ]),
  );
  print();
  for (const { file, name } of recognised) print(`${path.basename(file)} is ${name}, byte for byte`);
  for (const { file, reason } of skipped) print(`passed over: ${file}: ${reason}`);
  for (const warning of warnings) print(`note: ${warning}`);
  if (missing.length > 0) print(`not a whole model yet: ${missing.join(', ')} missing`);
  print(`${folder}${resumed ? '  (gone on with an interrupted conversion)' : ''}`);
}
