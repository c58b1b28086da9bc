/** paella inspect <image or model> */
import { statSync } from 'node:fs';
import { type InspectOptions, inspectModel } from '../../engine/inspect.js';
import { PaellaError } from '../../errors.js';
import { readMetadata } from '../../images/input.js';
import { type Arguments, type Context, print, printJson } from '../run.js';
import { bytes, millions, table } from '../text.js';
import { pick } from '../values.js';

export async function run(args: Arguments, context: Context): Promise<undefined> {
  const what = String(args.what);
  if (isFile(what)) await inspectImage(what, context);
  else await showModel(args, context);
}

function isFile(name: string): boolean {
  try {
    return statSync(name).isFile();
  } catch {
    return false; // then it may be the name of a model, and if not, that is what the message is about
  }
}

async function inspectImage(file: string, { json }: Context): Promise<void> {
  const metadata = await readMetadata(file);
  if (!metadata) {
    throw new PaellaError('ERR_IO', `${file}: no parameters of paella-native in this image`, {
      remedy: 'only images that paella-native wrote with metadata have them',
    });
  }
  if (json) return printJson({ file, ...metadata });
  const { parameters, omitted, ...rest } = metadata;
  const rows = Object.entries({ ...rest, ...parameters }).map(([key, value]) => [
    key,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  if (omitted) rows.push(['not stored', omitted.join(', ')]);
  print(table(rows));
}

async function showModel(args: Arguments, { signal, json }: Context): Promise<void> {
  const given = pick(
    args,
    ['precision', 'encoderWeights', 'width', 'height', 'count'],
    ['precision', 'encoderWeights'],
  );
  const options = { ...given, signal } as InspectOptions;
  if (options.height === undefined && options.width !== undefined) options.height = options.width;
  const model = await inspectModel(String(args.what), options);
  if (json) return printJson(model);
  const networks = Object.entries(model.parameters);
  const total = (values: Readonly<Record<string, number>>) =>
    Object.values(values).reduce((sum, value) => sum + value, 0);
  print(`${model.name}, family ${model.family}, in ${model.precision}`);
  if (model.domain) print(`draws ${model.domain.about}`);
  print();
  print(
    table([
      ['network', 'parameters', 'weights'],
      ...networks.map(([network, count]) => [network, millions(count), bytes(model.bytes[network] ?? 0)]),
      ['total', millions(total(model.parameters)), bytes(total(model.bytes))],
    ]),
  );
  print();
  const { weights, peak } = model.memory;
  const modes = ['resident', 'balanced', 'low'] as const;
  print(
    table([
      ['memory (estimate)', 'weights at once', 'peak'],
      ...modes.map((mode) => [mode, bytes(weights[mode]), bytes(peak[mode])]),
    ]),
  );
  print();
  const { defaults } = model;
  print(
    table([
      [
        'size',
        `multiples of ${model.sizeMultiple} up to ${model.maxSize} pixels, ${model.pixelsPerToken} pixels per token`,
      ],
      ['codebook', `${model.vocabularySize} entries`],
      ...Object.entries(defaults).map(([key, value]) => [`default ${key}`, JSON.stringify(value)]),
    ]),
  );
}
