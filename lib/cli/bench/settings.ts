/** From the options of `paella bench` to what is measured: the product of the lists, and numbers that were checked. */
import type { GenerateOptions } from '../../options/generate-options.js';
import type { LoadOptions } from '../../options/load-options.js';
import { nearest } from '../../options/nearest.js';
import { invalidOption } from '../../options/validate.js';
import { MAX_PROMPT_TOKENS } from '../../text/byt5-tokenizer.js';
import type { Arguments } from '../run.js';
import { kebab, loadValues, value } from '../values.js';
import { benchDefaults } from './defaults.js';
import type { Scenario } from './schema.js';

/** One combination of the lists. */
export interface Configuration {
  load: LoadOptions;
  /** Without prompt and seed: every call has its own. */
  generate: GenerateOptions;
  prompt: string;
  /** Whether each call has a prompt that was not seen before, so that its text is encoded. */
  fresh: boolean;
  /** Of the first call; the next ones count up. */
  seed: number;
  /** `paella bench …`, which measures this combination alone. */
  command: string;
}

/** Those of `paella bench`; scripts write rows of other scenarios. */
export const benchScenarios = ['single', 'offline', 'server', 'stages', 'scaling', 'cold', 'soak'] as const;
export type BenchScenario = (typeof benchScenarios)[number] & Scenario;

export const axes = ['pixels', 'steps', 'batch', 'threads'] as const;
export type Axis = (typeof axes)[number];
/** The option whose list is the curve. */
export const optionOf: Record<Axis, string> = { pixels: 'width', steps: 'steps', batch: 'count', threads: 'threads' };

export interface RateSearch {
  percentile: 'p50' | 'p90' | 'p95' | 'p99';
  limitMs: number;
}

export interface Settings {
  scenario: BenchScenario;
  repeat: number;
  /** Calls before the measured ones, the first included. */
  warmup: number;
  /** Calls in flight of `offline`. */
  concurrency: number;
  /** Arrivals per second of `server`. */
  rates: number[];
  search: RateSearch | undefined;
  /** Of `server` and `soak`; undefined: not told. */
  durationSeconds: number | undefined;
  deadlineMs: number | null;
  /** Of `soak`; undefined: not told. */
  generations: number | undefined;
  axes: Axis[];
}

/** Of `server`, unless told. */
export const defaultServerSeconds = 10;
const mostArrivals = 1_000_000;

const loadLists = ['backend', 'precision', 'threads', 'maxBatch', 'maxDelayMs'];
const generateLists = ['width', 'steps', 'count', 'guidanceScale'];
/** All that take lists, in the order of the rows. */
export const listNames: readonly string[] = [...loadLists, ...generateLists];
/** Given as they are to the command that stands in each row. */
const plainNames = [
  ...['model', 'device', 'devices', 'memory', 'encoderWeights', 'maxQueue', 'height', 'prompt', 'prompts', 'seed'],
  ...['repeat', 'warmup', 'concurrency', 'duration', 'deadlineMs', 'generations'],
];

/** Throws `ERR_INVALID_OPTION`. */
export function settingsOf(args: Arguments): Settings {
  const scenario = oneOf('scenario', args.scenario ?? 'single', benchScenarios);
  const rates = args.rate === undefined ? [] : list('rate', args.rate).map((each) => positive('rate', each));
  const search = args.findRate === undefined ? undefined : rateSearch(args.findRate);
  const settings: Settings = {
    scenario,
    repeat: integer('repeat', args.repeat, 1),
    warmup: integer('warmup', args.warmup, 0),
    concurrency: integer('concurrency', args.concurrency ?? '2', 1),
    rates,
    search,
    durationSeconds: args.duration === undefined ? undefined : positive('duration', value(args.duration)),
    deadlineMs: args.deadlineMs === undefined ? null : positive('deadlineMs', value(args.deadlineMs)),
    generations: args.generations === undefined ? undefined : integer('generations', args.generations, 2),
    axes: args.axis === undefined ? [...axes] : list('axis', args.axis).map((each) => oneOf('axis', each, axes)),
  };
  checkScenario(args, settings);
  if (scenario === 'scaling') checkCurves(args, settings);
  return settings;
}

/** An option that the scenario has no use for is a mistake, not something to pass over. */
function checkScenario(args: Arguments, { scenario, rates, search, durationSeconds, generations }: Settings): void {
  const only: [option: string, scenarios: BenchScenario[]][] = [
    ['rate', ['server']],
    ['findRate', ['server']],
    ['deadlineMs', ['server']],
    ['maxQueue', ['server']],
    ['maxDelayMs', ['server', 'offline']],
    ['duration', ['server', 'soak']],
    ['generations', ['soak']],
    ['concurrency', ['offline']],
    ['axis', ['scaling']],
    ['against', ['single']],
    ['repeat', ['single', 'offline', 'stages', 'scaling', 'cold']],
    ['warmup', ['single', 'offline', 'server', 'stages', 'scaling', 'cold']],
    ['prompts', ['single', 'offline', 'server', 'stages', 'scaling', 'soak']],
  ];
  for (const [option, where] of only)
    if (args[option] !== undefined && !isDefault(option, args[option]) && !where.includes(scenario))
      throw invalidOption(option, `nothing in the scenario ${scenario} (only in ${where.join(', ')})`, args[option]);
  if (scenario === 'server' && (rates.length === 0) === (search === undefined))
    throw invalidOption('rate', 'either rates (requests per second) or --find-rate', args.rate);
  // They are planned before the first of them comes.
  const seconds = durationSeconds ?? defaultServerSeconds;
  for (const rate of rates)
    if (rate * seconds > mostArrivals)
      throw invalidOption('rate', `at most ${mostArrivals / seconds} requests per second for ${seconds} s`, rate);
  if (scenario === 'soak' && durationSeconds !== undefined && generations !== undefined)
    throw invalidOption('generations', 'nothing beside --duration', generations);
}

/** Of all other lists only the first value would be measured. Throws `ERR_INVALID_OPTION`. */
function checkCurves(args: Arguments, { axes: measured }: Settings): void {
  const curves = measured.map((axis) => optionOf[axis]);
  for (const name of listNames.filter((each) => args[each] !== undefined && !curves.includes(each)))
    if (list(name, args[name]).length > 1)
      throw invalidOption(
        name,
        `one value in the scenario scaling (lists are the curves: ${curves.map(kebab).join(', ')})`,
        args[name],
      );
}

/** The product of the lists. Throws `ERR_INVALID_OPTION`. */
export function configurationsOf(args: Arguments): Configuration[] {
  const { scenario } = args;
  // In `scaling` the lists are the curves.
  const names = scenario === 'scaling' ? [] : listNames;
  return product(args, names).map((combination) => configurationOf(args, combination));
}

/** @param combination values of the options that take lists, by name; for the others the first of their list holds */
export function configurationOf(args: Arguments, combination: Record<string, unknown>): Configuration {
  const values = { ...firsts(args), ...combination };
  const { backend, precision, threads, maxBatch, maxDelayMs, width, ...generate } = values;
  const given = (record: Record<string, unknown>) =>
    Object.fromEntries(Object.entries(record).filter(([, each]) => each !== undefined));
  const { backend: _, precision: __, threads: ___, maxBatch: ____, ...plain } = loadValues(args);
  const maxQueue = value(args.maxQueue);
  const height = value(args.height) ?? width;
  const fresh = oneOf('prompts', args.prompts ?? 'fresh', ['fresh', 'same'] as const) === 'fresh';
  return {
    load: given({ ...plain, backend, precision, threads, maxBatch, maxDelayMs, maxQueue }) as LoadOptions,
    generate: given({ ...generate, width, height }) as GenerateOptions,
    prompt: promptOf(args.prompt),
    fresh,
    seed: integer('seed', args.seed ?? '1', 0),
    command: commandOf(args, values),
  };
}

/** Short enough for the number that tells fresh prompts apart (session.ts). */
function promptOf(text: unknown): string {
  const most = MAX_PROMPT_TOKENS - numbered('', 0).length;
  if (typeof text !== 'string' || Buffer.byteLength(text) > most)
    throw invalidOption('prompt', `one prompt of at most ${most} bytes`, text);
  return text;
}

/** All of one length, so that every call has the same shapes. */
export function numbered(prompt: string, number: number): string {
  return `${prompt} ${String(number).padStart(7, '0')}`;
}

/** The same as `paella bench`, with one value of each list. */
export function commandOf(args: Arguments, combination: Record<string, unknown>, extra: string[] = []): string {
  const words = ['paella', 'bench'];
  if (args.scenario !== undefined && args.scenario !== 'single') words.push('--scenario', String(args.scenario));
  const add = (name: string, each: unknown) => words.push(`--${kebab(name)}`, quoted(String(each)));
  for (const name of plainNames) if (args[name] !== undefined && !isDefault(name, args[name])) add(name, args[name]);
  for (const name of listNames) if (combination[name] !== undefined) add(name, combination[name]);
  return [...words, ...extra].join(' ');
}

/** Those of the given options that say what to measure. */
export function measuringOptions(args: Arguments): string[] {
  const names = ['scenario', 'against', 'rate', 'findRate', 'axis', ...plainNames, ...listNames];
  return names.filter((name) => args[name] !== undefined && !isDefault(name, args[name]));
}

const isDefault = (name: string, text: unknown) => (benchDefaults as Record<string, string>)[name] === text;

/** A word as a shell takes it. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** { steps: '4,8', width: '64' } → [{ steps: 4, width: 64 }, { steps: 8, width: 64 }] */
function product(args: Arguments, names: readonly string[]): Record<string, unknown>[] {
  let out: Record<string, unknown>[] = [{}];
  for (const name of names) {
    if (args[name] === undefined) continue;
    const values = list(name, args[name]);
    out = out.flatMap((row) => values.map((each) => ({ ...row, [name]: each })));
  }
  return out;
}

function firsts(args: Arguments): Record<string, unknown> {
  const given = listNames.filter((name) => args[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, list(name, args[name])[0]]));
}

/** '4,8' → [4, 8] */
export function list(name: string, text: unknown): unknown[] {
  const parts = typeof text === 'string' ? text.split(',').map((part) => part.trim()) : [];
  if (parts.length === 0 || parts.includes('')) throw invalidOption(name, 'values separated by commas', text);
  if (new Set(parts).size !== parts.length) throw invalidOption(name, 'each value once', text);
  return parts.map(value);
}

export function integer(name: string, text: unknown, least: number): number {
  const number = value(text);
  if (!Number.isSafeInteger(number) || Number(number) < least)
    throw invalidOption(name, `an integer, at least ${least}`, number);
  return Number(number);
}

function positive(name: string, number: unknown): number {
  if (typeof number !== 'number' || !Number.isFinite(number) || number <= 0)
    throw invalidOption(name, 'a number above 0', number);
  return number;
}

function oneOf<const T extends readonly string[]>(name: string, text: unknown, known: T): T[number] {
  if (known.includes(String(text))) return text as T[number];
  const near = nearest(String(text), known);
  throw invalidOption(
    name,
    `one of ${known.join(', ')}`,
    text,
    near === undefined ? undefined : `did you mean ${near}?`,
  );
}

function rateSearch(text: unknown): RateSearch {
  const [, percentile, limit] = String(text).match(/^(p50|p90|p95|p99)=(\d+(?:\.\d+)?)$/) ?? [];
  if (percentile === undefined || !(Number(limit) > 0))
    throw invalidOption('findRate', 'a percentile and its limit in milliseconds, like p95=100', text);
  return { percentile: percentile as RateSearch['percentile'], limitMs: Number(limit) };
}

/**
 * 'threads=1 precision=fp32' → { threads: '1', precision: 'fp32' }: what B of a pair has other than A. The options may be
 * written as on the command line, too. Throws `ERR_INVALID_OPTION`.
 */
export function againstOf(args: Arguments): Arguments | undefined {
  if (args.against === undefined) return undefined;
  const known = [...listNames, 'model', 'device', 'devices', 'memory', 'encoderWeights', 'height', 'prompts'];
  const words = String(args.against)
    .trim()
    .split(/[\s=]+/);
  const other: Arguments = {};
  for (let i = 0; i < words.length; i += 2) {
    const option = (words[i] ?? '').replace(/^--/, '');
    const name = known.find((each) => option === kebab(each) || option === each);
    const text = words[i + 1];
    if (name === undefined || text === undefined)
      throw invalidOption('against', `name=value with names among ${known.map(kebab).join(', ')}`, args.against);
    other[name] = text;
  }
  if (product(args, listNames).length > 1 || product(other, listNames).length > 1)
    throw invalidOption('against', 'two configurations: no lists of values', args.against);
  const merged = { ...args, ...other };
  settingsOf(merged); // what the scenario has no use for
  return merged;
}
