/** paella inspect <image or model> */
import { statSync } from 'node:fs';
import { PaellaError } from '../../errors.js';
import { readMetadata } from '../../images/input.js';
import { loadEngine } from '../progress.js';
import { type Arguments, type Context, print, printJson } from '../run.js';
import { bytes, millions, table } from '../text.js';

export async function run(args: Arguments, context: Context): Promise<undefined> {
  const what = String(args.what);
  if (isFile(what)) await inspectImage(what, context);
  else await inspectModel(what, context);
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

async function inspectModel(name: string, { signal, json }: Context): Promise<void> {
  const engine = await loadEngine({ model: name, signal });
  try {
    const { model, precision } = engine;
    const { memory } = engine.stats();
    if (json) return printJson({ ...model, precision, memory });
    const networks = Object.entries(model.parameters);
    const total = (values: Readonly<Record<string, number>>) =>
      Object.values(values).reduce((sum, value) => sum + value, 0);
    print(`${model.name}, family ${model.family}, in ${precision}`);
    print();
    print(
      table([
        ['network', 'parameters', 'weights'],
        ...networks.map(([network, count]) => [network, millions(count), bytes(model.bytes[network] ?? 0)]),
        ['total', millions(total(model.parameters)), bytes(total(model.bytes))],
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
        ['memory now', `${bytes(memory.current)} (weights ${bytes(memory.weights)})`],
        ...Object.entries(defaults).map(([key, value]) => [`default ${key}`, JSON.stringify(value)]),
      ]),
    );
  } finally {
    await engine.dispose({ abort: true });
  }
}
