/** Which components are in the checkpoints, and whether all of their tensors are there and of the right shape. */
import { readFile } from 'node:fs/promises';
import { type SourceTensor, shapeText } from '../checkpoints/tensors.js';
import { PaellaError } from '../errors.js';
import {
  type Component,
  type ComponentName,
  type Config,
  type ExpectedTensor,
  type Layout,
  MAX_BLOCKS,
  type Shapes,
} from './components/component.js';
import { components, unsupported } from './components/table.js';
import type { Checkpoint } from './sources.js';

/** A tensor to write: where its values come from, piece after piece. */
export interface PlannedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly pieces: readonly SourceTensor[];
}

export interface FoundComponent {
  readonly component: Component;
  readonly layout: Layout;
  readonly checkpoint: Checkpoint;
  readonly config: Config;
  /** In the order of their values in the files. */
  readonly tensors: readonly PlannedTensor[];
  /** How many of its tensors were left out on purpose. */
  readonly ignored: number;
}

/** Names shown of each kind of mistake. */
const SHOWN = 5;

/** One checkpoint may hold several: CLIP has two. Throws `ERR_MODEL_FORMAT` if a component's tensors do not fit. */
export async function identify(checkpoint: Checkpoint): Promise<FoundComponent[]> {
  const found: FoundComponent[] = [];
  for (const component of components) {
    const layout = component.layouts.find(({ signature }) => signature.every((name) => checkpoint.tensors.has(name)));
    if (layout) found.push(await read(component, layout, checkpoint));
  }
  return found;
}

/** What a checkpoint that holds no component seems to be. */
export function describeUnknown({ tensors }: Checkpoint): string {
  const known = unsupported.find(({ signature }) => signature.every((name) => tensors.has(name)));
  if (known) return `this is ${known.title}, which cannot be converted`;
  const names = [...tensors.keys()].slice(0, 3).map((name) => JSON.stringify(name.slice(0, 80)));
  const titles = components.map(({ title }) => title).join(', ');
  return `its ${tensors.size} tensors (${names.join(', ')}${tensors.size > 3 ? ', …' : ''}) are of none of: ${titles}`;
}

async function read(component: Component, layout: Layout, checkpoint: Checkpoint): Promise<FoundComponent> {
  const { config, from } = await configOf(component, layout, checkpoint);
  const expected = component.expected(config);
  const problems: string[] = [];
  const used = new Set<string>();
  const tensors: PlannedTensor[] = [];
  const missing: string[] = [];
  const misshapen: string[] = [];
  for (const target of expected) {
    const planned = plan(target, layout, checkpoint, used);
    if (typeof planned !== 'string') tensors.push(planned);
    else if (planned !== '') misshapen.push(planned);
    else if (!target.optional) missing.push(`${layout.source(target.name).names[0]} ${shapeText(target.shape)}`);
  }
  const owned = [...checkpoint.tensors.keys()].filter((name) => layout.owns.test(name) && !used.has(name));
  const extra = owned.filter((name) => !layout.ignored?.test(name));
  list(problems, 'missing', missing);
  list(problems, 'of another shape', misshapen);
  list(
    problems,
    'not part of it',
    extra.map((name) => `${name.slice(0, 120)} ${shapeText(shapeOf(checkpoint, name))}`),
  );
  if (problems.length > 0) {
    throw new PaellaError(
      'ERR_MODEL_FORMAT',
      `${checkpoint.label}: ${component.title}: its tensors do not fit the configuration${from}: ${problems.join('; ')}`,
      { remedy: 'the checkpoint is of another configuration, or incomplete' },
    );
  }
  tensors.sort((a, b) => compare(a.pieces[0], b.pieces[0]));
  return { component, layout, checkpoint, config, tensors, ignored: owned.length - extra.length };
}

const shapeOf = ({ tensors }: Checkpoint, name: string): readonly number[] => tensors.get(name)?.shape ?? [];

/** By file, then by place: the values are read in one pass. */
function compare(a: SourceTensor | undefined, b: SourceTensor | undefined): number {
  if (!a || !b) return 0;
  return a.file === b.file ? a.offset - b.offset : a.file.path < b.file.path ? -1 : 1;
}

function list(problems: string[], what: string, names: readonly string[]): void {
  if (names.length === 0) return;
  const more = names.length > SHOWN ? `, and ${names.length - SHOWN} more` : '';
  problems.push(`${names.length} ${what}: ${names.slice(0, SHOWN).join(', ')}${more}`);
}

/** '' if it is missing, and what is wrong if it has another shape. */
function plan(
  target: ExpectedTensor,
  layout: Layout,
  { tensors }: Checkpoint,
  used: Set<string>,
): PlannedTensor | string {
  const { names, transposed = false } = layout.source(target.name);
  const pieces: SourceTensor[] = [];
  for (const name of names) {
    const piece = tensors.get(name);
    if (!piece) return '';
    used.add(name);
    pieces.push(transposed ? transpose(piece) : piece);
  }
  const [first] = pieces;
  if (!first) return '';
  const rows = pieces.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
  const whole = pieces.length === 1 ? first.shape : [rows, ...first.shape.slice(1)];
  const fits = same(whole, target.shape) && pieces.every(({ shape }) => same(shape.slice(1), first.shape.slice(1)));
  if (!fits) {
    const found = pieces.map(({ shape }) => shapeText(shape)).join(' + ');
    return `${names.join(' + ')}: expected ${shapeText(target.shape)}${transposed ? ' transposed' : ''}, found ${found}`;
  }
  return { name: target.name, shape: target.shape, pieces };
}

function transpose(tensor: SourceTensor): SourceTensor {
  return { ...tensor, shape: [...tensor.shape].reverse(), strides: [...tensor.strides].reverse() };
}

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((side, i) => side === b[i]);

/** The configuration beside the checkpoint where there is one, the official one if it looks like it, or what shapes tell. */
async function configOf(
  component: Component,
  layout: Layout,
  checkpoint: Checkpoint,
): Promise<{ config: Config; from: string }> {
  const given = await givenConfig(component, checkpoint);
  const from = given ? ` in ${given.file}` : '';
  const whole = given && component.schema.safeParse(given.values);
  if (whole?.success) return { config: whole.data, from };
  if (!given && isLikeOfficial(component, layout, checkpoint)) {
    return { config: component.official, from: ' of the published weights' };
  }
  const inferred = component.infer(shapesOf(component.name, checkpoint), given?.values ?? {});
  const result = component.schema.safeParse({ ...defined(inferred), ...defined(given?.values ?? {}) });
  if (result.success) return { config: result.data, from };
  const [issue] = result.error.issues;
  const what = issue ? `${issue.path.join('.') || 'configuration'}: ${issue.message}` : 'configuration';
  throw new PaellaError('ERR_MODEL_FORMAT', `${given?.file ?? checkpoint.label}: ${component.title}: ${what}`, {
    remedy: 'docs/model-format.md says what a configuration holds',
  });
}

/** The tensors by which a component is known have the sizes of the published ones. */
function isLikeOfficial(
  { official, expected }: Component,
  { signature, source }: Layout,
  { tensors }: Checkpoint,
): boolean {
  const shapes = new Map(
    expected(official).map(({ name, shape }) => {
      const { names, transposed } = source(name);
      return [names[0], transposed ? [...shape].reverse() : shape] as const;
    }),
  );
  return signature.every((name) => same(shapes.get(name) ?? [], tensors.get(name)?.shape ?? [-1]));
}

async function givenConfig(component: Component, { configs }: Checkpoint) {
  for (const file of configs) {
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (error) {
      throw new PaellaError('ERR_MODEL_FORMAT', `${file}: expected JSON`, { cause: error });
    }
    if (typeof json !== 'object' || json === null) continue;
    const values = component.foreign(json as Config);
    if (values) return { file, values };
  }
  return undefined;
}

const defined = (values: Config): Config =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== null));

function shapesOf(component: ComponentName, checkpoint: Checkpoint): Shapes {
  const { tensors, label } = checkpoint;
  const counts = new Map<string, number>();
  const fail = (message: string) => new PaellaError('ERR_MODEL_FORMAT', `${label}: ${component}: ${message}`);
  return {
    has: (name) => tensors.has(name),
    shape(name, rank) {
      const shape = tensors.get(name)?.shape;
      if (!shape) throw fail(`${name} is missing`);
      if (shape.length !== rank) throw fail(`${name}: expected ${rank} dimensions, found ${shapeText(shape)}`);
      return shape;
    },
    count(prefix) {
      const known = counts.get(prefix);
      if (known !== undefined) return known;
      let highest = -1;
      for (const name of tensors.keys()) {
        if (name.startsWith(prefix)) highest = Math.max(highest, Number.parseInt(name.slice(prefix.length), 10) || 0);
      }
      if (highest >= MAX_BLOCKS)
        throw fail(`expected at most ${MAX_BLOCKS} blocks under ${prefix}, found ${highest + 1}`);
      counts.set(prefix, highest + 1);
      return highest + 1;
    },
  };
}
