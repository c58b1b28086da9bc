/** paella bench: a scenario, measured for each combination of the options that are lists; or results compared. */
import { setMaxListeners } from 'node:events';
import path from 'node:path';
import { writeAtomically } from '../../images/files.js';
import { invalidOption } from '../../options/validate.js';
import { checkChart, writeChart } from '../bench/chart-of-rows.js';
import { compare, comparePairs } from '../bench/compare.js';
import { readDocument } from '../bench/documents.js';
import { environment } from '../bench/environment.js';
import { comparisonReport, type ReportFormat, report, reportFormats } from '../bench/report.js';
import { cold } from '../bench/scenarios/cold.js';
import type { Bench } from '../bench/scenarios/context.js';
import { offline } from '../bench/scenarios/offline.js';
import { scaling } from '../bench/scenarios/scaling.js';
import { server } from '../bench/scenarios/server.js';
import { paired, single } from '../bench/scenarios/single.js';
import { soak } from '../bench/scenarios/soak.js';
import { stages } from '../bench/scenarios/stages.js';
import { type BenchDocument, schemaName } from '../bench/schema.js';
import {
  againstOf,
  type Configuration,
  commandOf,
  configurationsOf,
  measuringOptions,
  quoted,
  settingsOf,
} from '../bench/settings.js';
import { checkOutput, checkWritable } from '../output.js';
import { Progress } from '../progress.js';
import { type Arguments, type Context, print, printDocument } from '../run.js';

const scenarios = { single, offline, server, stages, cold, soak };

export async function run(args: Arguments, { signal, json }: Context): Promise<undefined> {
  setMaxListeners(0, signal); // one for each call in flight
  const { format, output } = outputOf(args, json);
  const chart = checkChart(args.chart);
  if (output !== undefined && chart !== undefined && path.resolve(output) === path.resolve(chart))
    throw invalidOption('chart', 'another file than that of the results', chart);
  for (const file of [output, chart]) if (file !== undefined) await checkWritable(file);
  if (args.compare === true) return compareFiles(args, format, output, chart);
  if (Array.isArray(args.files) && args.files.length > 0)
    throw invalidOption('compare', 'this option before names of files', args.files);
  if (args.ignore !== undefined) throw invalidOption('ignore', 'nothing without --compare', args.ignore);

  const document: BenchDocument = {
    schema: schemaName,
    environment: await environment(),
    command: ['paella', ...process.argv.slice(2).map(quoted)].join(' '),
    rows: [],
  };
  let failure: unknown;
  try {
    await measure(args, document, signal);
  } catch (error) {
    failure = error;
  }
  if (signal.aborted || failure !== undefined) document.complete = false;
  // What was measured is kept, whatever ended the run.
  const nothing = document.rows.length === 0 && (failure !== undefined || signal.aborted);
  if (!nothing) await write(document, format, output, chart);
  if (signal.aborted) throw signal.reason;
  if (failure !== undefined) throw failure;
  return undefined;
}

async function measure(args: Arguments, document: BenchDocument, signal: AbortSignal): Promise<void> {
  const settings = settingsOf(args);
  const { scenario } = settings;
  const other = againstOf(args);
  const combinations = configurationsOf(args);
  const progress = new Progress();
  let text = '';
  let shown = 0;
  const bench: Bench = {
    settings,
    signal,
    emit: (row) => document.rows.push(row),
    progress: (what, done, total) => {
      // Writing to a terminal takes time too.
      if (performance.now() - shown < 50 && done < total) return;
      shown = performance.now();
      progress.bar(`${text}${what}`, done, total);
    },
    loading: progress.loading,
  };
  try {
    if (other) return await againstEachOther(args, other, bench);
    if (scenario === 'scaling') return await scaling(args, bench);
    for (const [i, configuration] of combinations.entries()) {
      if (signal.aborted) return;
      text = combinations.length > 1 ? `${i + 1}/${combinations.length} ` : '';
      await scenarios[scenario](configuration, bench);
    }
  } catch (error) {
    // An interruption while something loads or warms up.
    if (!signal.aborted) throw error;
  } finally {
    progress.clear();
  }
}

async function againstEachOther(args: Arguments, other: Arguments, bench: Bench): Promise<void> {
  const [a, b] = [configurationsOf(args)[0], configurationsOf(other)[0]] as [Configuration, Configuration];
  const extra = ['--against', `'${String(args.against).trim()}'`];
  const { command: _, ...own } = a;
  const command = commandOf(args, { ...own.load, ...own.generate }, extra);
  await paired({ ...a, command }, { ...b, command }, bench);
}

/** -o is a format where it names one, as in other benchmarks, and a file else; the file's name may say the format. */
function outputOf(args: Arguments, json: boolean): { format: ReportFormat; output: string | undefined } {
  const isFormat = (text: unknown): text is ReportFormat => (reportFormats as readonly unknown[]).includes(text);
  const given = Array.isArray(args.output) ? args.output : args.output === undefined ? [] : [args.output];
  const [formats, files] = [given.filter(isFormat), given.filter((text) => !isFormat(text))];
  const output = checkOutput(files.length > 1 ? files : files[0]);
  const wanted = [
    ...new Set([args.format, ...formats, json ? 'json' : undefined].filter((text) => text !== undefined)),
  ];
  if (wanted.length > 1) throw invalidOption('format', 'one format', wanted);
  const extension = output === undefined ? '' : path.extname(output).slice(1).toLowerCase();
  return { format: (wanted[0] ?? (isFormat(extension) ? extension : 'md')) as ReportFormat, output };
}

async function write(
  document: BenchDocument,
  format: ReportFormat,
  output: string | undefined,
  chart: string | undefined,
): Promise<void> {
  const pairs = document.rows.some(({ pair }) => pair)
    ? comparisonReport(comparePairs(document, 'the pair'))
    : undefined;
  const text = report(document, format);
  const shown = format === 'md' && pairs !== undefined ? `${text}\n\n${pairs}` : text;
  const show = format === 'json' ? printDocument : print;
  if (output === undefined) show(shown);
  else
    await writeAtomically(output, `${shown}\n`).catch((error: unknown) => {
      // The file cannot have them, but nobody has to measure again.
      show(shown);
      throw error;
    });
  if (chart !== undefined && document.rows.length > 0) await writeChart(chart, document);
}

async function compareFiles(
  args: Arguments,
  format: ReportFormat,
  output: string | undefined,
  chart: string | undefined,
): Promise<undefined> {
  const files = Array.isArray(args.files) ? args.files.map(String) : [];
  const [first, second] = files;
  if (first === undefined || files.length > 2) throw invalidOption('compare', 'one or two files', files);
  if (format !== 'md' && format !== 'json') throw invalidOption('format', 'md or json with --compare', format);
  for (const name of measuringOptions(args)) throw invalidOption(name, 'nothing beside --compare', args[name]);
  if (chart !== undefined) throw invalidOption('chart', 'nothing beside --compare', chart);
  const ignored = args.ignore === undefined ? [] : String(args.ignore).split(',');
  const a = await readDocument(first);
  const compared = second === undefined ? comparePairs(a, first) : compare(a, await readDocument(second), ignored);
  const text = format === 'json' ? JSON.stringify(compared, null, 2) : comparisonReport(compared);
  if (output === undefined) print(text);
  else await writeAtomically(output, `${text}\n`);
  return undefined;
}
