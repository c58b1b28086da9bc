#!/usr/bin/env node
/** The command line: `paella [generate] <prompt…>`, `paella doctor`, … Each command is loaded when it runs. */
import yargs, { type Argv } from 'yargs';
import { packageVersion } from '../package-root.cjs';
import {
  benchOptions,
  convertOptions,
  decodeOptions,
  doctorOptions,
  encodeOptions,
  engineOptions,
  exportOptions,
  generateOptions,
  inspectOptions,
  pullOptions,
} from './options.js';
import { type Arguments, type Command, runCommand, wrongUsage } from './run.js';

/** @param list the positional argument that takes what follows `--` */
function command(name: string, load: () => Promise<Command>, list?: string) {
  return (args: unknown) => runCommand(name, withRest(args as Arguments, list), knownOptions(), load);
}

function withRest({ '--': rest, ...args }: Arguments, list: string | undefined): Arguments {
  if (!Array.isArray(rest) || rest.length === 0) return args;
  if (list === undefined) return wrongUsage(`${String(rest[0])}: unexpected argument`, null, []);
  return { ...args, [list]: [...((args[list] as unknown[] | undefined) ?? []), ...rest] };
}

function describe(parser: Argv): Argv {
  return parser
    .command(
      ['$0 [prompt..]', 'generate [prompt..]'],
      'draw images and write them to files',
      generateOptions,
      command('generate', async () => (await import('./commands/generate.js')).run, 'prompt'),
    )
    .command(
      'doctor',
      'show what is available on this machine, and why not the rest',
      doctorOptions,
      command('doctor', async () => (await import('./commands/doctor.js')).run),
    )
    .command(
      'inspect <what>',
      'show the parameters in an image, or the networks, sizes and memory of a model',
      inspectOptions,
      command('inspect', async () => (await import('./commands/inspect.js')).run),
    )
    .command(
      'encode <image>',
      'turn an image into tokens (JSON)',
      encodeOptions,
      command('encode', async () => (await import('./commands/encode.js')).run),
    )
    .command(
      'decode <tokens>',
      'turn tokens (JSON) into an image',
      decodeOptions,
      command('decode', async () => (await import('./commands/decode.js')).run),
    )
    .command(
      'export [name]',
      'write the networks of a model as ONNX files',
      exportOptions,
      command('export', async () => (await import('./commands/export.js')).run),
    )
    .command(
      'convert <checkpoints..>',
      'turn checkpoints of PyTorch or safetensors into a model folder',
      convertOptions,
      command('convert', async () => (await import('./commands/convert.js')).run, 'checkpoints'),
    )
    .command(
      'pull <repository> [files..]',
      'fetch a repository of the Hugging Face hub into the cache',
      pullOptions,
      command('pull', async () => (await import('./commands/pull.js')).run, 'files'),
    )
    .command(
      'engine <action> [names..]',
      'TensorRT engines: build those of a model; list, inspect or clean what is cached',
      engineOptions,
      command('engine', async () => (await import('./commands/engine.js')).run, 'names'),
    )
    .command(
      'bench [files..]',
      'measure generation (options that take lists give a run for each combination), or compare results',
      benchOptions,
      command('bench', async () => (await import('./commands/bench.js')).run, 'files'),
    );
}

const parser = describe(yargs(process.argv.slice(2)));

/** Long names of the options of the command that is running. The method is missing in the type declarations. */
function knownOptions(): string[] {
  const { key } = (parser as Argv & { getOptions(): { key: Record<string, unknown> } }).getOptions();
  return Object.keys(key).filter((name) => name.length > 1);
}

await parser
  .scriptName('paella')
  .usage('paella [generate] <prompt…> [options]')
  .version(packageVersion)
  .help()
  .alias('help', 'h')
  .strict()
  .locale('en')
  .wrap(Math.min(120, process.stdout.columns ?? 100))
  // 'a red circle' is a prompt, not a mistyped command; numbers stay what was typed until an option asks for one.
  .parserConfiguration({
    'parse-positional-numbers': false,
    'parse-numbers': false,
    'greedy-arrays': false,
    'populate--': true,
  })
  .fail((message, error) => wrongUsage(message, error, knownOptions()))
  .parseAsync();
