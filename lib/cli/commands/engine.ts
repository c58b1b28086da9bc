/** paella engine build | list | inspect | clean */
import { cleanEngines, engineFolder, inspectEngine, listEngines } from '../../engine/engine-cache.js';
import { buildEngines, readProfiles } from '../../engine/engines.js';
import { PaellaError } from '../../errors.js';
import type { BuildEnginesOptions, EngineProfile } from '../../options/engine-options.js';
import type { Logger } from '../../options/load-options.js';
import { invalidOption } from '../../options/validate.js';
import { Progress } from '../progress.js';
import { type Arguments, type Context, print, printJson } from '../run.js';
import { bytes, table } from '../text.js';
import { pick } from '../values.js';

const actions = { build, list, inspect, clean } as const;
export const engineActions = Object.keys(actions);

export async function run(args: Arguments, context: Context): Promise<undefined> {
  const action = String(args.action) as keyof typeof actions;
  if (!engineActions.includes(action)) throw invalidOption('action', `one of ${engineActions.join(', ')}`, action);
  const names = ((args.names as unknown[] | undefined) ?? []).map(String);
  await actions[action](names, args, context);
}

/** '256' → 256; '64,256,512' → [64, 256, 512]; anything else as it is: the check then names it. */
function range(text: unknown): unknown {
  const numbers = String(text).split(',').map(Number);
  if (numbers.some((number) => !Number.isInteger(number))) return text;
  return numbers.length === 1 ? numbers[0] : numbers;
}

const sizes = ['batch', 'width', 'height', 'condition', 'steps'] as const;

/** Ranges on the command line make a profile of their own; what is not said there is one image, 32 tokens, 8 steps. */
function profilesOf(args: Arguments): BuildEnginesOptions['profiles'] {
  const said = sizes.filter((size) => args[size] !== undefined);
  const named = args.profile === undefined ? undefined : String(args.profile).split(',');
  if (said.length === 0 && args.profiles === undefined) return named;
  if (said.length > 0 && (named !== undefined || args.profiles !== undefined))
    throw invalidOption(said[0] ?? 'batch', 'nothing beside --profile and --profiles', args[said[0] ?? 'batch']);
  if (said.length > 0) {
    if (args.width === undefined) throw invalidOption('width', 'pixels beside the other sizes', undefined);
    const own: Record<string, unknown> = {
      name: 'command-line',
      batch: 1,
      height: range(args.width),
      condition: 32,
      steps: 8,
    };
    for (const size of said) own[size] = range(args[size]);
    return [own as unknown as EngineProfile];
  }
  const all = readProfiles(String(args.profiles));
  const chosen = named === undefined ? all : all.filter(({ name }) => named.includes(name));
  const missing = named?.find((name) => !all.some((profile) => profile.name === name));
  if (missing !== undefined)
    throw invalidOption('profile', `some of ${all.map(({ name }) => name).join(', ')}`, missing);
  return chosen.map(({ precision, ...rest }) => ({ ...rest, ...(precision ? { precision } : {}) }) as EngineProfile);
}

async function build(names: string[], args: Arguments, { signal, json }: Context): Promise<void> {
  if (names.length > 1) throw invalidOption('model', 'one model', names);
  if (names.length === 1 && args.model !== undefined)
    throw invalidOption('model', 'nothing beside the model that is named first', args.model);
  const progress = new Progress();
  const say = (message: string) => {
    progress.clear();
    process.stderr.write(`${message}\n`);
  };
  const logger: Logger = { warn: say, error: say, ...(args.verbose === true ? { info: say } : {}) };
  try {
    const built = await buildEngines({
      ...(pick(
        args,
        ['model', 'precision', 'flavour', 'computeCapability', 'device', 'workspaceLimit'],
        ['model', 'precision', 'flavour', 'computeCapability'],
      ) as BuildEnginesOptions),
      ...(names[0] === undefined ? {} : { model: names[0] }),
      ...(args.networks === undefined
        ? {}
        : { networks: String(args.networks).split(',') as BuildEnginesOptions['networks'] }),
      profiles: profilesOf(args),
      signal,
      logger,
      onProgress: ({ network, phase, step, steps }) => progress.bar(`${network}: ${phase}`, step, steps),
    });
    progress.clear();
    if (json) return printJson({ folder: engineFolder(), engines: built });
    print(
      table(
        built.map(({ network, profile, built: fresh, bytes: size, file }) => [
          network,
          profile,
          fresh ? 'built' : 'was there',
          bytes(size),
          file,
        ]),
      ),
    );
  } finally {
    progress.clear();
  }
}

async function list(names: string[], _args: Arguments, { json }: Context): Promise<void> {
  if (names.length > 0) throw invalidOption('names', 'nothing behind list', names, 'see one with engine inspect');
  const engines = await listEngines();
  if (json) return printJson({ folder: engineFolder(), engines });
  if (engines.length === 0) return print(`no engines in ${engineFolder()}`);
  print(
    table([
      ['engine', 'GPU', 'TensorRT', 'precision', 'size', ''],
      ...engines.map((engine) => [
        engine.name,
        engine.gpu === '' ? '' : `${engine.gpu} (${engine.computeCapability})`,
        `${engine.flavour} ${engine.version}`.trim(),
        engine.precision,
        bytes(engine.bytes),
        engine.problem === undefined ? '' : `not used: ${engine.problem}`,
      ]),
    ]),
  );
}

async function inspect(names: string[], _args: Arguments, { json }: Context): Promise<void> {
  const [name] = names;
  if (name === undefined || names.length > 1) throw invalidOption('names', 'the name of one engine', names);
  const engine = await inspectEngine(name);
  if (!engine) throw noEngine(name);
  if (json) return printJson(engine);
  const { tensors, ...rest } = engine.description as { tensors?: unknown[] } & Record<string, unknown>;
  print(
    table([
      ['file', engine.file],
      ...Object.entries(rest).map(([key, value]) => [key, String(value)]),
      ...(engine.problem === undefined ? [] : [['not used', engine.problem]]),
    ]),
  );
  for (const tensor of (tensors ?? []) as { name: string; input: boolean; type: string; shape: number[] }[])
    print(`    ${tensor.input ? 'input ' : 'output'} ${tensor.name} ${tensor.type} [${tensor.shape.join(', ')}]`);
  if (engine.layers !== undefined) print(JSON.stringify(engine.layers, null, 2));
}

async function clean(names: string[], args: Arguments, { json }: Context): Promise<void> {
  if (names.length > 0 && args.all === true) throw invalidOption('all', 'nothing beside names', true);
  const known = names.length > 0 ? (await listEngines()).map(({ name }) => name) : [];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw noEngine(unknown);
  const removed = await cleanEngines({ all: args.all === true, ...(names.length > 0 ? { names } : {}) });
  if (json) return printJson({ removed });
  print(removed.length === 0 ? 'nothing to remove' : removed.join('\n'));
}

function noEngine(name: string): PaellaError {
  return new PaellaError('ERR_IO', `${name}: no engine of that name in ${engineFolder()}`, {
    remedy: 'run `paella engine list`',
  });
}
