/** Around every command: interruption, errors, exit codes. */
import { PaellaError } from '../errors.js';
import { nearest } from '../options/nearest.js';
import { kebab } from './values.js';

/** What yargs parsed, by camelCase name. */
export type Arguments = Record<string, unknown>;

export interface Context {
  /** Aborted by Ctrl-C and SIGTERM. */
  signal: AbortSignal;
  /** --json: stdout is for the document. */
  json: boolean;
}

/** @returns the exit code; nothing is 0 */
export type Command = (args: Arguments, context: Context) => Promise<number | undefined>;

export const EXIT_FAILED = 1;
export const EXIT_WRONG_USAGE = 2;
/** 128 + the signal's number. */
const exitOfSignal = { SIGINT: 130, SIGTERM: 143 } as const;

/** @param known long names of the command's options */
export async function runCommand(
  name: string,
  args: Arguments,
  known: readonly string[],
  load: () => Promise<Command>,
): Promise<void> {
  const controller = new AbortController();
  let interrupted: number | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    const code = exitOfSignal[signal as keyof typeof exitOfSignal];
    if (interrupted !== undefined) process.exit(code); // asked twice: at once
    interrupted = code;
    controller.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  // `paella … | head` closes the pipe: nobody reads, so nobody is told.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : EXIT_FAILED));
  const json = args.json === true;
  try {
    const run = await load();
    process.exitCode = (await run(args, { signal: controller.signal, json })) ?? 0;
  } catch (error) {
    process.exitCode = interrupted ?? report(error, name, known, json);
    if (interrupted !== undefined) process.stderr.write('paella: interrupted\n');
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

/** For people on stderr; with --json also as the document. */
function report(error: unknown, command: string, known: readonly string[], json: boolean): number {
  if (!(error instanceof PaellaError)) {
    process.stderr.write(
      `paella ${command}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    if (json && !documented) printJson({ error: { code: 'ERR_UNEXPECTED', message: String(error) } });
    return EXIT_FAILED;
  }
  const message = onCommandLine(error, known);
  process.stderr.write(`paella: ${message}\n`);
  if (error.remedy) process.stderr.write(`        ${error.remedy}\n`);
  if (json && !documented)
    printJson({ error: { code: error.code, message, ...(error.remedy ? { remedy: error.remedy } : {}) } });
  return error.code === 'ERR_INVALID_OPTION' ? EXIT_WRONG_USAGE : EXIT_FAILED;
}

/** Options of the library that are called otherwise here. */
const otherNames: Record<string, string> = { previewEvery: 'preview' };

/** Arguments without dashes, which yargs lists among the options. */
const positional = new Set(['prompt', 'names', 'files']);

/** 'guidanceScale: expected …' → '--guidance-scale: expected …', where it is an option of the command. */
function onCommandLine({ code, message }: PaellaError, known: readonly string[]): string {
  // A file, whose name is not ours to change, stands in the same place.
  if (code !== 'ERR_INVALID_OPTION' && code !== 'ERR_MODEL_NOT_FOUND' && code !== 'ERR_MODEL_FORMAT') return message;
  return message.replace(/^([a-z][A-Za-z]*):/, (whole, name: string) => {
    const option = otherNames[name] ?? kebab(name);
    return known.includes(option) && !positional.has(option) ? `--${option}:` : whole;
  });
}

/** Whether an argument as it was typed is the option of that name: '--some-name=1', '--noSomeName', or a letter of '-abc'. */
function isFlag(text: string, name: string): boolean {
  const [, dashes, typed = ''] = text.match(/^(-+)([^=]*)/) ?? [];
  if (dashes === '-') return typed.includes(name);
  return dashes === '--' && [kebab(typed), kebab(typed).replace(/^no-/, '')].includes(kebab(name));
}

export function wrongUsage(message: string | null, error: Error | null, known: readonly string[]): never {
  // yargs calls this with its own errors too, whose message is the first argument; anything else is a defect.
  if (error && error.name !== 'YError') throw error;
  const unknown = message?.match(/^Unknown arguments?: ([^,]+)/)?.[1];
  const isOption = unknown !== undefined && process.argv.some((text) => isFlag(text, unknown));
  const suggestion = isOption ? nearest(unknown, known) : undefined;
  const reason = isOption
    ? `--${kebab(unknown)}: unknown option`
    : unknown !== undefined
      ? `${unknown}: unexpected argument`
      : (message ?? 'wrong usage');
  const text = `${reason}${suggestion ? `, did you mean --${suggestion}?` : ''}`;
  const remedy = 'run `paella --help`';
  process.stderr.write(`paella: ${text}\n        ${remedy}\n`);
  // The arguments were not understood, so that this is all there is to go by.
  if (process.argv.includes('--json')) printJson({ error: { code: 'ERR_INVALID_OPTION', message: text, remedy } });
  process.exit(EXIT_WRONG_USAGE);
}

export function printJson(value: unknown): void {
  printDocument(JSON.stringify(value, null, 2));
}

let documented = false;

/** The one document that --json promises; an error that comes later is told on stderr alone. */
export function printDocument(json: string): void {
  documented = true;
  print(json);
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}
