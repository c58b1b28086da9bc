/** paella export [model] */
import { exportOnnx } from '../../engine/export.js';
import type { ExportOptions } from '../../options/export-options.js';
import { invalidOption } from '../../options/validate.js';
import { checkOutput } from '../output.js';
import { Progress } from '../progress.js';
import { type Arguments, type Context, print, printJson } from '../run.js';
import { bytes, table } from '../text.js';
import { pick } from '../values.js';

export async function run(args: Arguments, { signal, json }: Context): Promise<undefined> {
  if (args.name !== undefined && args.model !== undefined)
    throw invalidOption('model', 'nothing beside the model that is named first', args.model);
  const output = checkOutput(args.output);
  if (output === undefined) throw invalidOption('output', 'a folder', output);
  const options = {
    ...pick(args, ['model', 'precision', 'opset', 'force'], ['model', 'precision']),
    ...(args.name === undefined ? {} : { model: String(args.name) }),
    ...(args.networks === undefined ? {} : { networks: String(args.networks).split(',') }),
  };
  const progress = new Progress();
  try {
    const result = await exportOnnx({
      ...(options as Partial<ExportOptions>),
      output,
      signal,
      onProgress: ({ phase, done, total }) => {
        if (total > 0) progress.bar(phase, done, total);
        else progress.show(`${phase} ${bytes(done)}`);
      },
    });
    progress.clear();
    if (json) return printJson({ folder: output, ...result }) as undefined;
    print(`${output}: ${result.model} in ${result.precision}, opset ${result.opset}`);
    print(
      table([
        ...result.networks.map(({ file, nodes, bytes: size }) => [file, bytes(size), `${nodes} nodes`]),
        ...result.data.map(({ file, bytes: size }) => [file, bytes(size), 'weights']),
      ]),
    );
  } finally {
    progress.clear();
  }
}
