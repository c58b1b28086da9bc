/** paella bench: the product of the options that are lists, one row for each combination. */
import { writeAtomically } from '../../images/files.js';
import type { GenerateOptions } from '../../options/generate-options.js';
import type { LoadOptions } from '../../options/load-options.js';
import { invalidOption } from '../../options/validate.js';
import { type BenchRow, measure } from '../bench/measure.js';
import { type ReportFormat, report } from '../bench/report.js';
import { checkOutput } from '../output.js';
import { Progress } from '../progress.js';
import { type Arguments, type Context, print } from '../run.js';
import { pick, value } from '../values.js';

const loadLists = ['backend', 'precision', 'threads'];
const generateLists = ['width', 'steps', 'count', 'guidanceScale'];

export async function run(args: Arguments, { signal, json }: Context): Promise<undefined> {
  const repeat = positive('repeat', args.repeat, 1);
  const warmup = positive('warmup', args.warmup, 0);
  const output = checkOutput(args.output);
  const combinations = product(args, [...loadLists, ...generateLists]);
  const progress = new Progress();
  const rows: BenchRow[] = [];
  try {
    for (const [i, combination] of combinations.entries()) {
      const load = {
        ...pick(args, ['model', 'device', 'maxBatch', 'memory'], ['model', 'memory']),
        ...only(combination, loadLists),
      } as LoadOptions;
      const own = only(combination, generateLists);
      const height = value(args.height) ?? own.width;
      const options = {
        prompt: String(args.prompt),
        ...own,
        ...(height === undefined ? {} : { height }),
      } as GenerateOptions;
      const onRun = (done: number, total: number) => progress.bar(`row ${i + 1}/${combinations.length}`, done, total);
      rows.push(await measure(load, options, { repeat, warmup, signal, onRun }));
    }
  } finally {
    progress.clear();
  }
  const text = report(rows, json ? 'json' : (args.format as ReportFormat));
  if (output !== undefined) await writeAtomically(output, `${text}\n`);
  else print(text);
}

function positive(name: string, text: unknown, least: number): number {
  const number = value(text);
  if (!Number.isInteger(number) || Number(number) < least)
    throw invalidOption(name, `an integer, at least ${least}`, number);
  return Number(number);
}

/** { steps: '4,8', width: '64' } → [{ steps: 4, width: 64 }, { steps: 8, width: 64 }] */
function product(args: Arguments, names: readonly string[]): Record<string, unknown>[] {
  let out: Record<string, unknown>[] = [{}];
  for (const name of names) {
    if (args[name] === undefined) continue;
    const values = String(args[name]).split(',').map(value);
    out = out.flatMap((row) => values.map((each) => ({ ...row, [name]: each })));
  }
  return out;
}

function only(row: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).filter(([name]) => names.includes(name)));
}
