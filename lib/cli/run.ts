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

export async function runCommand(name: string, args: Arguments, load: () => Promise<Command>): Promise<void> {
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
    process.exitCode = interrupted ?? report(error, name, json);
    if (interrupted !== undefined) process.stderr.write('paella: interrupted\n');
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

/** For people on stderr; with --json also as the document. */
function report(error: unknown, command: string, json: boolean): number {
  if (!(error instanceof PaellaError)) {
    process.stderr.write(
      `paella ${command}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    if (json) printJson({ error: { code: 'ERR_UNEXPECTED', message: String(error) } });
    return EXIT_FAILED;
  }
  const message = onCommandLine(error.message);
  process.stderr.write(`paella: ${message}\n`);
  if (error.remedy) process.stderr.write(`        ${error.remedy}\n`);
  if (json) printJson({ error: { code: error.code, message, ...(error.remedy ? { remedy: error.remedy } : {}) } });
  return error.code === 'ERR_INVALID_OPTION' ? EXIT_WRONG_USAGE : EXIT_FAILED;
}

/** 'guidanceScale: expected …' → '--guidance-scale: expected …' */
function onCommandLine(message: string): string {
  return message.replace(/^([a-z][A-Za-z]*):/, (_, name: string) =>
    name === 'prompt' || name === 'image' ? `${name}:` : `--${kebab(name)}:`,
  );
}

export function wrongUsage(message: string | null, error: Error | null, known: readonly string[]): never {
  // yargs calls this with its own errors too, whose message is the first argument; anything else is a defect.
  if (error && error.name !== 'YError') throw error;
  const unknown = message?.match(/^Unknown arguments?: ([\w-]+)/)?.[1];
  const suggestion = unknown === undefined ? undefined : nearest(unknown, known);
  const text = unknown === undefined ? (message ?? 'wrong usage') : `--${kebab(unknown)}: unknown option`;
  process.stderr.write(
    `paella: ${text}${suggestion ? `, did you mean --${suggestion}?` : ''}\n        run \`paella --help\`\n`,
  );
  process.exit(EXIT_WRONG_USAGE);
}

/** One document. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}
